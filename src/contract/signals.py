"""Signals as bytes on a pipe: handlers do nothing, one loop waits for signals and everything else alike."""

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator
from types import FrameType


@contextlib.contextmanager
def as_bytes(numbers: Iterable[signal.Signals]) -> Iterator[int]:
    """Hand out a descriptor, not blocking, from which the number of each signal that comes is read as one byte."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    before = {number: signal.signal(number, _ignore) for number in numbers}
    old_writer = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(old_writer)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Exist, so that Python writes the signal's number to the pipe."""
