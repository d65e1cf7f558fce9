"""The files of a channel, mapped into memory late and a bounded number at a time."""

import mmap
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

Bytes = NDArray[np.uint8]

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
    """All files below a folder in the order of their names; what starts with a dot or an underscore is not data."""
    if folder.is_file():
        return [File(folder.name, folder, folder.stat().st_size)]
    found = []
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if not any(part.startswith((".", "_")) for part in name.split("/")) and path.is_file():
            found.append(File(name, path, path.stat().st_size))
    return sorted(found, key=lambda file: file.name)


class Maps:
    """Read-only memory maps of files, the ones used last; safe for several threads."""

    def __init__(self, limit: int = MAX_OPEN) -> None:
        self._limit = limit
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
                found = self._maps[file.path] = _open(file)
                if len(self._maps) > self._limit:
                    # The array keeps its map alive for as long as a thread still reads from it.
                    self._maps.popitem(last=False)
            else:
                self._maps.move_to_end(file.path)
            return found


def _open(file: File) -> Bytes:
    try:
        with file.path.open("rb") as handle:
            size = handle.seek(0, 2)
            if size != file.size:
                raise DataError(
                    f"File {file.name} has {size} bytes and had {file.size} when the channel was listed. Expected "
                    f"files that stay as they are while a job reads them: write elsewhere and rename."
                )
            if not size:
                return np.zeros(0, dtype=np.uint8)
            return np.frombuffer(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.uint8)
    except OSError as error:
        raise DataError(
            f"File {file.name} cannot be opened any more ({error.strerror or error}). Expected the files of a channel "
            f"to stay while a job reads them."
        ) from error
