"""Writes a safetensors file with little of the CPU: window by window, summed up in the cache, past the page cache.

    tensors ── 256 KiB at a time ──> window of 8 MiB ── O_DIRECT ──> disk
                  └ CRC-32C

`safetensors.torch.save_file` copies what it writes, and a checksum would read the file again: beside a training step
both cost more than the writing. So does the page cache, which takes one more copy and new pages for it. The layout is
that of https://github.com/huggingface/safetensors#format: the length of the header, the header in JSON, and the tensors
without gaps.
"""

import contextlib
import errno
import fcntl
import json
import mmap
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import google_crc32c
import torch
from torch import Tensor

from .checkpoint_manifest import StoredFile

_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_ALIGNMENT = 8
_CHUNK_BYTES = 256 << 10
"""What is copied and summed up at once, in the cache."""
_WINDOW_BYTES = 8 << 20
"""What is written at once; a multiple of _BLOCK_BYTES."""
_BLOCK_BYTES = 4096
"""What direct writes must begin and end at multiples of, in memory and in the file."""
_REST = 2.0
"""Rest after a window, in times that the window took."""


class Pauses:
    """Rests between windows while training goes on: both want the memory, and no step should pay for a whole save."""

    def __init__(self, until: float = 0.0) -> None:
        """Take when rests must have ended, by time.monotonic(); 0: there are none."""
        self._until = until
        self._hurry = threading.Event()
        self.seconds = 0.0
        """Rested so far."""

    def hurry(self) -> None:
        """Let no rest follow, and end one that has begun: somebody waits."""
        self._hurry.set()

    def rest(self, worked: float) -> None:
        """Rest after so many seconds of work."""
        begun = time.monotonic()
        self._hurry.wait(max(0.0, min(_REST * worked, self._until - begun)))
        self.seconds += time.monotonic() - begun


def write_tensors(tensors: Mapping[str, Tensor], path: Path, pauses: Pauses) -> StoredFile:
    """Write contiguous tensors of the CPU to a file, to the disk, and return its size and checksum.

    Raises:
        OSError: the disk is full or broken.
        KeyError: a tensor has a type that safetensors has not.
    """
    # Large types first: each tensor then begins at a multiple of its type's size.
    ordered = dict(sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])))
    with _Output(path, pauses) as output:
        for part in [_header(ordered), *map(_bytes, ordered.values())]:
            output.add(part)
        return output.finish()


def undisturbed() -> float:
    """Seconds by the clock, without those in which this thread could have run and others had the CPU."""
    # Not every kernel counts them: then they are in.
    waited_ns = 0
    with contextlib.suppress(FileNotFoundError):
        waited_ns = int(Path("/proc/thread-self/schedstat").read_text().split()[1])
    return time.monotonic() - waited_ns / 1e9


class _Output:
    """A file that is written out of one window of memory, past the page cache where the file system lets it."""

    def __init__(self, path: Path, pauses: Pauses) -> None:
        self._pauses, self._begun = pauses, undisturbed()
        # Aligned, and shared: private pages must not be written directly where another thread may fork.
        self._memory = memoryview(mmap.mmap(-1, _WINDOW_BYTES))
        self._used = self._size = self._crc32c = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            self._file, self._direct = os.open(path, flags | os.O_DIRECT, 0o666), True
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._file, self._direct = os.open(path, flags, 0o666), False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def add(self, part: memoryview) -> None:
        """Append bytes."""
        at = 0
        while at < len(part):
            count = min(len(part) - at, _CHUNK_BYTES, _WINDOW_BYTES - self._used)
            # The sum takes nothing but `bytes`.
            chunk = bytes(part[at : at + count])
            self._crc32c = google_crc32c.extend(self._crc32c, chunk)
            self._memory[self._used : self._used + count] = chunk
            at, self._used = at + count, self._used + count
            if self._used == _WINDOW_BYTES:
                self._flush()
                self._pauses.rest(undisturbed() - self._begun)
                self._begun = undisturbed()

    def finish(self) -> StoredFile:
        """Bring all to the disk."""
        self._flush()
        # A last direct write ends at a multiple of a block.
        os.ftruncate(self._file, self._size)
        os.fsync(self._file)
        return StoredFile(size=self._size, crc32c=self._crc32c)

    def _flush(self) -> None:
        done = 0
        while done < self._used:
            end = -(-self._used // _BLOCK_BYTES) * _BLOCK_BYTES if self._direct else self._used
            try:
                done += os.write(self._file, self._memory[done:end])
            except OSError as error:
                # A file system may open a file so and refuse to write it, or not from where a short write has ended.
                if error.errno != errno.EINVAL or not self._direct:
                    raise
                fcntl.fcntl(self._file, fcntl.F_SETFL, fcntl.fcntl(self._file, fcntl.F_GETFL) & ~os.O_DIRECT)
                self._direct = False
        self._size, self._used = self._size + self._used, 0


def _header(tensors: Mapping[str, Tensor]) -> memoryview:
    header, end = {}, 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return memoryview(len(text).to_bytes(8, "little") + text)


def _bytes(tensor: Tensor) -> memoryview:
    """View a tensor's memory."""
    return memoryview(tensor.reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type] # numpy of 3.11 has no Buffer
