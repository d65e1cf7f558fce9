"""The files of a channel, mapped into memory late and a bounded number at a time."""

import mmap
import os
import stat
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

Bytes = NDArray[np.uint8]

_HIDDEN = (".", "_")
MAX_OPEN = 256
"""Files that are mapped at once; every map holds a file descriptor, of which a process has 1,024 by default."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of a channel as it was when the channel was listed."""

    name: str
    """Path below the channel's folder, with `/` between the parts: the name that messages use."""
    path: Path
    size: int
    """Bytes."""


def list_files(folder: Path) -> list[File]:
    """All files below a folder in the order of their names; what starts with a dot or an underscore is not data.

    Links to files are followed, as folders of links into a cache have them; pipes and sockets are no data either.

    Raises:
        DataError: a file has vanished meanwhile, or a link leads nowhere.
    """
    if folder.is_file():
        return [File(folder.name, folder, folder.stat().st_size)]
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(_HIDDEN)]
        below = Path(parent).relative_to(folder)
        for name in names:
            if not name.startswith(_HIDDEN):
                file = _stat((below / name).as_posix(), Path(parent, name))
                found += [file] if file else []
    return sorted(found, key=lambda file: file.name)


def _stat(name: str, path: Path) -> File | None:
    try:
        status = path.stat()
    except OSError as error:
        raise gone(name, error) from error
    return File(name, path, status.st_size) if stat.S_ISREG(status.st_mode) else None


def gone(name: str, error: OSError) -> DataError:
    """Say that a file can no longer be read."""
    return DataError(
        f"File {name} cannot be opened any more ({error.strerror or error}). Expected the files of a channel to stay "
        f"while a job reads them, and to be readable."
    )


class Maps:
    """Read-only memory maps of files, the ones used last; safe for several threads."""

    def __init__(self, channel: str | None = None, limit: int = MAX_OPEN) -> None:
        """Take the name of the channel, for messages, and how many files are mapped at once."""
        self._channel, self._limit = channel, limit
        self._maps: OrderedDict[Path, Bytes] = OrderedDict()
        self._lock = threading.Lock()

    def map(self, file: File) -> Bytes:
        """Return the bytes of a file; pages come into memory as they are read, and leave it as others need the room.

        Raises:
            DataError: the file has vanished, or has another size than when it was listed.
        """
        with self._lock:
            found = self._maps.get(file.path)
            if found is None:
                found = self._maps[file.path] = self._open(file)
                if len(self._maps) > self._limit:
                    # The array keeps its map alive for as long as a thread still reads from it.
                    self._maps.popitem(last=False)
            else:
                self._maps.move_to_end(file.path)
            return found

    def _open(self, file: File) -> Bytes:
        try:
            return _open(file)
        except DataError as error:
            raise DataError(f"Channel {self._channel!r}: {error}" if self._channel else str(error)) from error


def _open(file: File) -> Bytes:
    try:
        # Without the buffer and the system calls of a Python file: a batch can be of hundreds of files.
        descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            if size != file.size:
                raise DataError(
                    f"File {file.name} has {size} bytes and had {file.size} when the channel was listed. Expected "
                    f"files that stay as they are while a job reads them: write elsewhere and rename."
                )
            if not size:
                return np.zeros(0, dtype=np.uint8)
            return np.frombuffer(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ), dtype=np.uint8)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise gone(file.name, error) from error
