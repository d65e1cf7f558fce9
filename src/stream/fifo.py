"""A FIFO of Pipe mode: waited for, opened without hanging, read once from end to end.

The platform makes `<channel>_0` when the job starts and `<channel>_<n+1>` when pass n has been closed; it writes the
objects of the channel one after another. Closing early is allowed: the writer is told by EPIPE.
Source: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html.
"""

import fcntl
import os
import select
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import PlatformError
from .ahead import Stop

CHUNK_BYTES = 1 << 20
"""Bytes of one read, and of the kernel's buffer where it may be that large."""
WAIT_SECONDS = 900.0
"""Time that a FIFO may take to appear, its writer to come, or the next byte to arrive."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.25


class Fifo:
    """One pass over a channel, open for reading; a regular file does as well."""

    def __init__(self, path: Path, stop: Stop, *, wait_seconds: float = WAIT_SECONDS) -> None:
        """Wait for the FIFO and open it; its writer may come later.

        Args:
            path: the FIFO.
            stop: ends every wait when it is set.
            wait_seconds: bound on each wait.

        Raises:
            PlatformError: it does not appear in time, or cannot be opened.
        """
        self.path = path
        self._wait_seconds = wait_seconds
        self._descriptor = _open(path, stop, wait_seconds)
        self._stop = stop
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_SETPIPE_SZ, CHUNK_BYTES)
        except OSError:
            # A regular file, or more than this user's share of pipe buffers: reads are smaller then.
            return

    def read(self, size: int = CHUNK_BYTES) -> bytes:
        """Read up to `size` bytes, or none at the end.

        Raises:
            PlatformError: nothing comes in time.
        """
        # Without blocking, a FIFO whose writer has not come yet reads as if it had ended: poll tells the two apart.
        if not self._stop.wait(self._descriptor, select.POLLIN | select.POLLHUP, self._wait_seconds):
            raise PlatformError(
                f"{self.path} has brought nothing for {self._wait_seconds:g} s. Expected data or its end: the platform "
                f"writes it from S3. Start the job again."
            )
        return os.read(self._descriptor, size)

    def close(self) -> None:
        """Close; the writer of what is left gets EPIPE."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open(path: Path, stop: Stop, wait_seconds: float) -> int:
    deadline, pause = time.monotonic() + wait_seconds, _FIRST_PAUSE
    while True:
        try:
            return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError as error:
            if time.monotonic() > deadline:
                raise PlatformError(
                    f"{path} has not appeared in {wait_seconds:g} s. Expected the platform to make one FIFO for each "
                    f"pass over a channel in Pipe mode."
                ) from error
        except OSError as error:
            raise PlatformError(f"{path} cannot be opened ({error.strerror or error}). Expected a FIFO.") from error
        stop.pause(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
