"""The temporary folder of one server: what it and its workers write is in there, and goes with it.

A server that is killed leaves its folder behind. The next one finds that nobody holds it any more, and removes it.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..contract.paths import scratch
from ..errors import PlatformError

_PREFIX = "twofold-serve-"


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """Make a folder the temporary one of this process and of all that it forks; remove it in the end.

    Raises:
        PlatformError: no folder can be written.
    """
    process = os.getpid()
    try:
        before = tempfile.gettempdir()
        _sweep(scratch())
        folder, handle = _make(scratch())
    except OSError as error:
        raise PlatformError(
            f"No folder for temporary files: {error}. Expected one that can be written: set TMPDIR to it."
        ) from error
    tempfile.tempdir = str(folder)
    try:
        yield folder
    finally:
        # A worker that ends leaves it to the process that made it.
        if os.getpid() == process:
            tempfile.tempdir = before
            shutil.rmtree(folder, ignore_errors=True)
            os.close(handle)


def _make(place: Path) -> tuple[Path, int]:
    """Make a folder and hold it; whoever is forked holds it, too."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(handle, fcntl.LOCK_EX)
        # Another server may have found it before it was held.
        if folder.is_dir():
            return folder, handle
        os.close(handle)


def _sweep(place: Path) -> None:
    """Remove the folders that nobody holds."""
    for folder in place.glob(f"{_PREFIX}*"):
        # Somebody else's, or gone in the meantime; or held.
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)
