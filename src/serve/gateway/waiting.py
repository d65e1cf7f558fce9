"""Waiting for sockets: asleep, or awake for a moment where the next request is sure to come at once.

To be put to sleep and woken again takes a process longer than a small model takes to compute, and costs its client as
much. A client that asks again as soon as it has its answer is waited for awake; one that takes its time is not, but for
a try now and then. The kernel does the same for its virtual machines.
Source: https://docs.kernel.org/virt/guest-halt-polling.html.
"""

import select
import time

from ...contract.machine import cpus

FEW = 2
"""Connections up to which their next requests are worth staying awake for."""
AWAKE = 100e-6
"""Seconds to stay awake."""
SELDOM = 1023
"""Waits asleep between two tries that are in vain, at most."""


class Waiting:
    """What a loop waits by."""

    def __init__(self, epoll: select.epoll, processors: int | None = None) -> None:
        """Take the sockets, and how many processors there are: on a single one clients run only while this sleeps."""
        self._epoll = epoll
        self._may_stay_awake = (processors or cpus()) > 1
        self._asleep = self._left = 0

    def wait(self, seconds: float, *, idle: bool) -> list[tuple[int, int]]:
        """Wait for events.

        Args:
            seconds: at most so long; 0 only looks.
            idle: whether nothing but the next request of a few clients can come.

        Returns:
            Descriptors and masks as epoll has them; none when the time is over.
        """
        if not (seconds and idle and self._may_stay_awake):
            return self._epoll.poll(seconds)
        if self._left:
            self._left -= 1
            return self._epoll.poll(seconds)
        end = time.monotonic() + AWAKE
        while time.monotonic() < end:
            events = self._epoll.poll(0)
            if events:
                self._asleep = 0
                return events
        self._asleep = self._left = min(2 * self._asleep + 1, SELDOM)
        return self._epoll.poll(seconds)
