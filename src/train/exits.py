"""When each rank of a host ended, to the instant, and an end to those that outlive a failure.

torchrun looks ten times a second and stamps whole seconds. Of ranks that do not listen when it tells them to end, e.g.
those that wait for the failed one in native code, where no handler of Python's runs, it is patient for 30 s.
"""

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable

from .culprit import PEER_TIMEOUT_S

_SCAN_S = 0.02
"""Seconds between looks for ranks that were not there yet: Python alone takes as long to start."""


class Exits:
    """Watches the ranks that this process starts, in a thread, without collecting them: torchrun does."""

    def __init__(
        self,
        ranks: int,
        children: Callable[[int], list[int]],
        *,
        failed: Callable[[], bool] = lambda: False,
        patience_s: float = PEER_TIMEOUT_S,
    ) -> None:
        """Take what to watch.

        Args:
            ranks: their number.
            children: lists the children of a process.
            failed: tells, once a rank has ended, whether one has failed, rather than been told to stop.
            patience_s: seconds from then on after which all others are killed.
        """
        self._ranks, self._children, self._failed, self._patience = ranks, children, failed, patience_s
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
        deadline: float | None = None
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
            quick = deadline is not None or not (whole and watched)
            ended = poller.poll(_SCAN_S * 1000 if quick else None)
            if deadline is None and ended and self._failed():
                deadline = time.monotonic() + self._patience
            if deadline is not None and time.monotonic() > deadline:
                for descriptor in watched:
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            for descriptor, _ in ended:
                self._times[watched.pop(descriptor)] = time.monotonic()
                poller.unregister(descriptor)
                os.close(descriptor)
            if whole and not watched:
                return

    def _unknown(self, known: set[int]) -> list[int]:
        if len(known) >= self._ranks:
            return []
        return [pid for pid in self._children(os.getpid()) if pid not in known]
