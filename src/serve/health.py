"""What `/ping` says: whether this container can answer, and if not, why.

Before the workers are there, the `porter` answers for them: 503, loading. So do they where each has to load by itself,
until the first has. Then any worker answers for all of them, since the platform takes the whole container for dead or
alive.
"""

from dataclasses import dataclass

from .board import BEAT, BUSY_SINCE, READY, SERVING, STATE, STOPPING, Board


@dataclass(frozen=True, slots=True)
class Health:
    """An answer to `/ping`."""

    status: int
    """200 or 503."""
    reason: str = ""
    """Why it is not 200."""


GOOD = Health(200)


def health(board: Board, seat: int, now: float, patience: float) -> Health:
    """Look at all workers.

    Args:
        board: their numbers.
        seat: the worker that is asked.
        now: the monotonic clock.
        patience: seconds that a model, or a worker, may be silent.
    """
    if board.rows[seat][STATE] == STOPPING:
        return Health(503, "stopping: SIGTERM has come, requests in flight are being answered")
    if not any(row[READY] for row in board.rows):
        return Health(503, "loading: no worker has loaded the model yet")
    for place, row in enumerate(board.rows):
        # Each number is read once: its worker, or the master after its death, may set it to 0 at any time. A beat of 0
        # is that of a worker that has just begun, or is no more.
        state, busy_since, beat = row[STATE], row[BUSY_SINCE], row[BEAT]
        if state != SERVING:
            continue
        if busy_since and now - busy_since > patience:
            seconds = f"{now - busy_since:.0f} s, expected at most {patience:g}"
            return Health(503, f"stuck: the model of worker {place} has been computing for {seconds}")
        # Who is asked is alive: a container that was frozen between two requests has old beats.
        if place != seat and beat and now - beat > patience:
            return Health(503, f"stuck: worker {place} gives no sign of life for {now - beat:.0f} s")
    return GOOD
