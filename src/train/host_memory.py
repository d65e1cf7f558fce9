"""The parent's eye on the memory of its host: a warning with what holds it, and what is known after a kill."""

import logging
import time
from pathlib import Path

from ..contract import memory
from ..contract.memory import Usage
from .failures import Memory

log = logging.getLogger(__name__)

FULL = 0.9
"""Part of the limit at which it warns."""
_EASED = 0.8
"""Part at which it is ready to warn again."""
_LISTED = 4
_GB = 1e9
_FRESH_S = 30.0
"""How long ago the fullest moment may be, to be the reason of a kill."""


class MemoryWatch:
    """Called about once a second while the ranks run."""

    def __init__(self, cgroup: Path, proc: Path = memory.PROC) -> None:
        """Take where the kernel tells, and count the kills so far, which are not this run's."""
        self._cgroup, self._proc = cgroup, proc
        self._kills = memory.oom_kills(cgroup, proc)
        self._warned = False
        self._fullest, self._seen = "", 0.0
        self._share = 0.0

    def look(self) -> None:
        """Measure; where memory is nearly full, say so once and remember what held it."""
        usage = memory.usage(self._cgroup, self._proc)
        if usage is None:
            return
        if usage.share < FULL:
            self._warned = self._warned and usage.share > _EASED
            self._share = 0.0
            return
        if usage.share > self._share:
            self._share, self._fullest = usage.share, self._held(usage)
        self._seen = time.monotonic()
        if not self._warned:
            self._warned = True
            log.warning(
                "host memory is nearly full: %s Lower 'batch_size' or use fewer processes, or the kernel will kill one",
                self._fullest,
            )

    def outcome(self) -> Memory:
        """Return what is known once the ranks have ended."""
        fresh = self._fullest if time.monotonic() - self._seen < _FRESH_S else ""
        return Memory(kills=memory.oom_kills(self._cgroup, self._proc) - self._kills, peak=fresh)

    def _held(self, usage: Usage) -> str:
        parts = [
            f"{process.name} (pid {process.pid}) {process.private / _GB:.1f} GB"
            for process in memory.largest(_LISTED, self._proc)
        ]
        parts.append(f"/dev/shm {usage.shared / _GB:.1f} GB")  # noqa: S108 - a name for people
        parts.append(f"page cache {(usage.cache - usage.shared) / _GB:.1f} GB")
        return f"{usage.share:.0%} of {usage.limit / _GB:.1f} GB were in use: {', '.join(parts)}."
