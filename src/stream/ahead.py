"""A thread that reads ahead, and the switch that ends every wait of it: it never outlives its reader or the program."""

import atexit
import os
import select
import threading
from collections.abc import Generator, Iterator
from queue import SimpleQueue
from typing import TypeVar

_Item = TypeVar("_Item")


class Stopped(Exception):
    """Nobody wants any more what is being waited for."""


class Stop:
    """A switch that wakes waits on file descriptors."""

    def __init__(self) -> None:
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def set(self) -> None:
        """End all waits, now and later."""
        os.eventfd_write(self._event, 1)

    def wait(self, descriptor: int, events: int, seconds: float) -> bool:
        """Wait for one of the events of poll(2); False when none came in time.

        Raises:
            Stopped: the switch was set.
        """
        poll = select.poll()
        poll.register(self._event, select.POLLIN)
        poll.register(descriptor, events)
        ready = dict(poll.poll(seconds * 1000))
        if self._event in ready:
            raise Stopped
        return bool(ready)

    def pause(self, seconds: float) -> None:
        """Wait a while.

        Raises:
            Stopped: the switch was set.
        """
        if select.select([self._event], [], [], seconds)[0]:
            raise Stopped

    def __del__(self) -> None:
        os.close(self._event)


def read_ahead(source: Iterator[_Item], depth: int, stop: Stop) -> Generator[_Item, None, None]:
    """Yield what a source yields, taken from it in a thread up to `depth` items ahead; its errors are raised here."""
    results: SimpleQueue[_Item | BaseException | None] = SimpleQueue()
    room = threading.Semaphore(depth)
    left = threading.Event()

    def work() -> None:
        try:
            for item in source:
                results.put(item)
                room.acquire()
                if left.is_set():
                    break
            results.put(None)
        except BaseException as error:  # noqa: BLE001  raised again where the items are awaited
            results.put(error)

    program = os.getpid()

    def end() -> None:
        # A fork has no such thread, but the same switch.
        if os.getpid() != program:
            return
        left.set()
        stop.set()
        room.release()
        thread.join()

    # The interpreter waits for other threads when it ends, but not for daemons: this one may wait for a writer, which
    # only `end` makes it leave.
    thread = threading.Thread(target=work, name="twofold-ahead", daemon=True)
    thread.start()
    # A thread that is in torch when the interpreter is taken down aborts the process.
    atexit.register(end)
    try:
        while (item := results.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            room.release()
            yield item
    finally:
        atexit.unregister(end)
        end()
