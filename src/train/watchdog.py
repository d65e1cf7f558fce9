"""When a job has hung: arithmetic over the heartbeats of the ranks of one host, without processes and clocks."""

from collections.abc import Collection, Mapping

from .heartbeat import Beat

MEDIANS = 20.0
"""A step that takes as many times the median is no slow step any more."""
_BLIND_S = 10.0
"""A gap between looks in which this machine was asleep or frozen, and the ranks with it."""


class Watchdog:
    """Looks at the heartbeats about once a second."""

    def __init__(self, floor_s: float) -> None:
        """Take the seconds for which no step is never a hang."""
        self._floor = floor_s
        self._since = self._looked = 0.0
        self._count, self._grant = 0, 0.0

    def look(self, now: float, beats: Mapping[int, Beat], frozen: Collection[int] = ()) -> float | None:
        """Tell for how many seconds nothing has moved, where that is too long; None while all is well.

        Nothing has moved when no rank has: one that still steps is what the others wait for.

        Args:
            now: second of the clock of the beats.
            beats: of all ranks of this host.
            frozen: ranks whose processes are stopped, which is no step of any phase.
        """
        if now - self._looked > _BLIND_S:
            self._since = now
        self._looked = now
        count = sum(beat.count for beat in beats.values())
        if count != self._count:
            self._count, self._grant = count, 0.0
        if not beats:
            return None
        idle = now - max(self._since, *(beat.time for beat in beats.values()))
        bound = self._floor if frozen else self.bound(beats)
        return idle if bound is not None and idle > bound + self._grant else None

    def bound(self, beats: Mapping[int, Beat]) -> float | None:
        """Seconds without a step that are a hang; None while a rank does what takes as long as it takes."""
        medians = [beat.median for beat in beats.values()]
        known = [median for median in medians if median is not None]
        return max(self._floor, MEDIANS * max(known)) if known and len(known) == len(medians) else None

    def grant(self, seconds: float) -> None:
        """Be patient for longer, until the next step: there was a reason for what looked like a hang."""
        self._grant = seconds
