"""Which process a script runs in and when it last wrote a line, in a small file that the parent reads.

script_rank ─ mmap ─→ scratch/rank-0.pulse ─→ watch of the parent (`script_hang`)
"""

import mmap
import struct
import time
from dataclasses import dataclass
from pathlib import Path

# Native: a number is written in one store, so that a reader never sees half of one.
_LAYOUT = struct.Struct("@Qd")


@dataclass(frozen=True, slots=True)
class Pulse:
    """The last sign of the script of one rank."""

    pid: int
    """The script's own process."""
    heard: float
    """When it last wrote, or was started, in seconds of the monotonic clock that all processes of a host share."""


class PulseWriter:
    """The end of `script_rank`."""

    def __init__(self, directory: Path, rank: int) -> None:
        """Make the file of a rank in the scratch folder.

        Raises:
            OSError: it cannot be written.
        """
        path = directory / f"rank-{rank}.pulse"
        path.write_bytes(bytes(_LAYOUT.size))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _LAYOUT.size)
        self._pid = 0

    def started(self, pid: int) -> None:
        """Say in which process the script runs."""
        self._pid = pid
        self.heard()

    def heard(self) -> None:
        """Say that it has written something."""
        _LAYOUT.pack_into(self._memory, 0, self._pid, time.monotonic())


def read_pulses(directory: Path) -> dict[int, Pulse]:
    """Read the pulse of each rank of this host whose script has started, by rank."""
    pulses = {}
    for path in directory.glob("rank-*.pulse"):
        content = path.read_bytes()
        if len(content) == _LAYOUT.size:
            pid, heard = _LAYOUT.unpack(content)
            if pid:
                pulses[int(path.stem.removeprefix("rank-"))] = Pulse(pid, heard)
    return dict(sorted(pulses.items()))
