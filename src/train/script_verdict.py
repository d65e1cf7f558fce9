"""What scripts that do nothing wait for, and whether that is a hang: judgement over their stacks.

rank 0   blocks in all_reduce and has not run since   ┐
rank 1   sleeps at train.py:14                        ┴─→ proven: rank 1 is behind, rank 0 waits for it
rank 0   sleeps at train.py:9                         ──→ not proven: it may wait on purpose
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..contract.causes import is_users
from .hang import listed
from .stacks import Frame, Stacks

SETTING = "TWOFOLD_HANG_TIMEOUT"
"""Environment variable of the job: seconds without output and work that are a hang; 0 turns the watch off."""
_HINT = f" Set {SETTING} (seconds; 0: never) if it may take that long."


@dataclass(frozen=True, slots=True)
class RankState:
    """One rank that does nothing."""

    stack: Stacks = field(default_factory=Stacks)
    """Of its first Python process."""
    still_s: float = 0.0
    """Seconds for which the main thread of that has not had a turn on a core."""
    stopped_s: float = 0.0
    """Seconds since a signal has stopped it; 0 where none has."""
    ended: bool = False
    """Whether it is no longer there, while others are."""
    worker: Frame | None = None
    """Where a DataLoader's worker of it is that has had no turn either."""
    worker_still_s: float = 0.0
    """Seconds for which it has not."""

    @property
    def waits_in(self) -> str:
        """Collective that it is blocked in, by its own will and power; empty where there is none."""
        return "" if self.stopped_s or self.ended else self.stack.blocks_in


def behind(ranks: Mapping[int, RankState]) -> list[int]:
    """Ranks that the others wait for: stopped ones, else those that have ended, else those in no collective."""
    stopped = [rank for rank, state in ranks.items() if state.stopped_s]
    ended = [rank for rank, state in ranks.items() if state.ended]
    return stopped or ended or [rank for rank, state in ranks.items() if not state.waits_in]


def proven(ranks: Mapping[int, RankState], seconds: float) -> bool:
    """Tell whether a rank waits for another process of the job, and has not had a turn for so many seconds.

    A loop that asks again and again, e.g. whether data have come, has turns. What has none waits for one thing, which
    nobody is about to bring.
    """
    return any(
        bool(state.stopped_s)
        or (bool(state.waits_in) and state.still_s >= seconds)
        or (state.stack.reads and state.worker is not None and state.worker_still_s >= seconds)
        for state in ranks.values()
    )


def sentence(ranks: Mapping[int, RankState], idle_s: float) -> str:
    """Say of a hang who is behind, where, and what the others wait in, class of the fault first."""
    cause, who, where = _found(ranks)
    stopped = any(state.stopped_s for state in ranks.values())
    quiet = "" if stopped else f" no output and no work for {idle_s:.0f} s:"
    return f"{cause}: {who} hung:{quiet} {where}{'' if stopped else _HINT}"


def notice(ranks: Mapping[int, RankState], idle_s: float) -> str:
    """Say the same of what may be none yet."""
    _, who, where = _found(ranks)
    return f"no output and no work for {idle_s:.0f} s: {who}: {where}"


def _found(ranks: Mapping[int, RankState]) -> tuple[str, str, str]:
    """Class of the fault, ranks that are behind, and where they and those that wait for them are."""
    late = behind(ranks)
    if not late:
        places: dict[str, list[int]] = {}
        for rank, state in ranks.items():
            places.setdefault(state.waits_in, []).append(rank)
        said = "; ".join(f"{listed(those)} in {place}" for place, those in places.items())
        return "user code", listed(list(ranks)), f"{said}."
    cause, where = _place(ranks[late[0]])
    waiting = [rank for rank, state in ranks.items() if rank not in late and state.waits_in]
    waits = f" Waiting for it: {listed(waiting)}, in {ranks[waiting[0]].waits_in}." if waiting else ""
    return cause, listed(late) if len(ranks) > 1 else "the script", f"{where}.{waits}"


def _place(state: RankState) -> tuple[str, str]:
    """Class of the fault of a rank that is behind, and where it is."""
    place = state.stack.place
    at = f" at {place}" if place else ""
    if state.stopped_s:
        return "platform", (
            f"its process was stopped (SIGSTOP) {state.stopped_s:.0f} s ago{at}. Do not stop it, or start the job again"
        )
    if state.ended:
        return "user code", "it has ended without an error, before the others had done with it"
    if state.stack.reads:
        worker = f", a worker of its DataLoader is at {state.worker}" if state.worker else ""
        return "data", f"it waits for data{at}{worker}"
    users = place is not None and is_users(place.file)
    return "user code" if users else "platform", f"it is{at or ' nowhere known: its stack cannot be read'}"


def head(rank: int, state: RankState) -> str:
    """First line of a rank's stack in the full report."""
    if state.stopped_s:
        return f"rank {rank}, stopped (SIGSTOP), at {state.stack.place}"
    if state.waits_in:
        return f"rank {rank} waits in {state.waits_in}"
    return f"rank {rank} has ended" if state.ended else f"rank {rank} is at {state.stack.place}"
