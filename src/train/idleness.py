"""For how long scripts have done nothing: arithmetic over what the kernel counts, without processes and clocks.

Rates are taken over windows, since nothing that has hung stands quite still: loaders look after their workers, trackers
of experiments send a sign of life. Below these bounds it is that; what works is far above one of them.
"""

from collections.abc import Mapping

from .activity import Work

CPU_SHARE = 0.01
"""Part of one core that a rank's processes use while they work."""
BYTES_PER_S = 100_000
"""Bytes that they read or write in a second while they work."""
TRAFFIC_PER_S = 2_000
"""Bytes that go over the network in a second while something is on its way."""


class Idleness:
    """Looks at sums that only grow, a window after another."""

    def __init__(self, window_s: float) -> None:
        """Take the least seconds of a window."""
        self._window = window_s
        self._since: float | None = None
        self._start = 0.0
        self._work: Mapping[int, Work] = {}
        self._traffic = 0

    def look(self, now: float, heard: float, work: Mapping[int, Work], traffic: int) -> float:
        """Tell for how many seconds no rank has worked or written.

        Args:
            now: second of the clock.
            heard: when one of them last wrote.
            work: of each rank so far.
            traffic: bytes that the machine has received and sent so far.
        """
        if self._since is None:
            self._since = self._start = now
            self._work, self._traffic = work, traffic
        if any(one.wants for one in work.values()):
            self._since = now
        seconds = now - self._start
        if seconds >= self._window:
            if traffic - self._traffic >= TRAFFIC_PER_S * seconds or any(
                _worked(self._work.get(rank, Work()), one, seconds) for rank, one in work.items()
            ):
                self._since = now
            self._start, self._work, self._traffic = now, work, traffic
        self._since = max(self._since, heard)
        return now - self._since

    def forget(self) -> None:
        """Begin anew: this machine was asleep, or there was a sign of life that is not among the sums."""
        self._since = None


def _worked(before: Work, after: Work, seconds: float) -> bool:
    return after.cpu_s - before.cpu_s >= CPU_SHARE * seconds or after.bytes - before.bytes >= BYTES_PER_S * seconds
