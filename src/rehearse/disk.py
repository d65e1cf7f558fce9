"""Folders of what runs: on a disk of their own and of a given size, where a fault asks for it, and their end."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from ..errors import PlatformError

NAME = "twofold-"
"""What the names of all temporary folders of rehearsals begin with."""


def mount(folder: Path, megabytes: float) -> None:
    """Make a folder that has a file system of its own, in memory.

    Raises:
        PlatformError: it cannot be mounted.
    """
    folder.mkdir(parents=True)
    argv = ["mount", "-t", "tmpfs", "-o", f"size={megabytes * 1024:.0f}k,mode=755", "twofold", str(folder)]
    try:
        subprocess.run(argv, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = error.stderr if isinstance(error, subprocess.CalledProcessError) else error
        raise PlatformError(f"A disk of {megabytes:g} MB cannot be mounted: {said}. End it: small-disk 0.") from error


def may_mount() -> bool:
    """Whether this process may mount file systems, as far as its user tells."""
    return os.geteuid() == 0


def remove(folder: Path) -> None:
    """Remove a folder with all file systems below it."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        # Blanks of a name are written as octal numbers.
        place = Path(line.split(" ")[4].replace("\\040", " "))
        if place.is_relative_to(folder):
            # At once from everybody's sight; in truth when whoever still has a file open there has ended.
            argv = ["umount", "--lazy", str(place)]
            subprocess.run(argv, check=False, capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)


def scratch(mark: str) -> Path:
    """Make a temporary folder that `sweep` finds; with a short name: those of sockets have a hundred characters."""
    return Path(tempfile.mkdtemp(prefix=f"{NAME}{mark[:8]}-")).resolve()


def sweep(mark: str) -> None:
    """Remove the temporary folders that a dead rehearsal of this mark has left."""
    for folder in Path(tempfile.gettempdir()).resolve().glob(f"{NAME}{mark[:8]}-*"):
        remove(folder)
