"""When each rank of a host ended, to the instant: torchrun looks ten times a second and stamps whole seconds."""

import os
import select
import threading
import time
from collections.abc import Callable

_SCAN_S = 0.02
"""Seconds between looks for ranks that were not there yet: Python alone takes as long to start."""


class Exits:
    """Watches the ranks that this process starts, in a thread, without collecting them: torchrun does."""

    def __init__(self, ranks: int, children: Callable[[int], list[int]]) -> None:
        """Take the number of ranks, and how to list the children of a process."""
        self._ranks, self._children = ranks, children
        self._times: dict[int, float] = {}
        self._thread = threading.Thread(target=self._watch, name="exits", daemon=True)

    def start(self) -> "Exits":
        """Begin to watch."""
        self._thread.start()
        return self

    def time(self, pid: int) -> float | None:
        """Second of the monotonic clock in which a process ended; None for one that was not seen to."""
        return self._times.get(pid)

    def _watch(self) -> None:
        watched: dict[int, int] = {}  # process id by descriptor
        poller, known = select.poll(), set[int]()
        while len(self._times) < self._ranks:
            for pid in self._unknown(known):
                known.add(pid)
                try:
                    descriptor = os.pidfd_open(pid)
                except OSError:
                    continue
                watched[descriptor] = pid
                poller.register(descriptor, select.POLLIN)
            whole = len(known) >= self._ranks
            for descriptor, _ in poller.poll(None if whole and watched else _SCAN_S * 1000):
                self._times[watched.pop(descriptor)] = time.monotonic()
                poller.unregister(descriptor)
                os.close(descriptor)
            if whole and not watched:
                return

    def _unknown(self, known: set[int]) -> list[int]:
        if len(known) >= self._ranks:
            return []
        return [pid for pid in self._children(os.getpid()) if pid not in known]
