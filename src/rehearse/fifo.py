"""The writer's end of Pipe mode: one FIFO a pass over a channel, made when the last one has been read."""

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

LOOK_S = 0.05


class Feeder:
    """Feeds the FIFOs `<channel>_0`, `<channel>_1`, ... of one host, each with the pieces of one pass."""

    def __init__(self, first: Path, pieces: Callable[[int], Iterable[bytes]]) -> None:
        """Begin at once, in a thread; `first` is the path of the channel, `pieces` gives those of an epoch."""
        self._folder, self._name, self._pieces = first.parent, first.name, pieces
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._make(0)
        self._thread.start()

    def close(self) -> None:
        """Stop feeding; the reader has ended by now."""
        self._ended.set()
        self._thread.join(timeout=10)

    def _make(self, epoch: int) -> Path:
        path = self._folder / f"{self._name}_{epoch}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            os.mkfifo(path)
        return path

    def _feed(self) -> None:
        epoch = 0
        while (output := self._open(self._make(epoch))) is not None:
            # A reader may close early: what it has not read is dropped and the next pass begins.
            with contextlib.suppress(BrokenPipeError):
                try:
                    for piece in self._pieces(epoch):
                        self._write(output, piece)
                finally:
                    os.close(output)
            epoch += 1

    def _open(self, path: Path) -> int | None:
        """Wait for the reader; None when there will be none."""
        while not self._ended.wait(LOOK_S):
            try:
                return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
        return None

    def _write(self, output: int, piece: bytes) -> None:
        rest = memoryview(piece)
        while rest and not self._ended.is_set():
            try:
                rest = rest[os.write(output, rest) :]
            except BlockingIOError:
                self._ended.wait(0.005)
