"""What a rank is doing, in a small file that its parent reads: one write to mapped memory a step, no system call.

rank 0 ─ mmap ─→ scratch/rank-0.beat ─→ watchdog of the parent, once a second
"""

import mmap
import os
import statistics
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

Phase = Literal["start", "step", "evaluate", "save", "end"]
"""What takes as long as it takes (start of the run or of an epoch, saving, the end), and what goes by in steps."""

_PHASES: tuple[Phase, ...] = get_args(Phase)
_TIMED: tuple[Phase, ...] = ("step", "evaluate")
_HEAD = struct.Struct("<QQIIdQ")
"""Beats, step, process, phase, time of the beat; beats again, to see a torn read."""
_SECONDS = struct.Struct("<d")
_REMEMBERED = 64
"""Steps of each timed phase whose seconds are kept, in a ring."""
_RINGS = {_PHASES.index(phase): _HEAD.size + n * _REMEMBERED * _SECONDS.size for n, phase in enumerate(_TIMED)}
_SIZE = _HEAD.size + len(_TIMED) * _REMEMBERED * _SECONDS.size
_ENOUGH = 3
"""Steps before a median means anything: the first ones compile, allocate and connect."""


@dataclass(frozen=True, slots=True)
class Beat:
    """The last word of a rank."""

    count: int
    """Beats so far: steps of training and of evaluations."""
    step: int
    """Optimizer steps finished."""
    pid: int
    """Its process."""
    phase: Phase
    """What it is doing since."""
    time: float
    """When, in seconds of the monotonic clock that all processes of a host share."""
    median: float | None
    """Median seconds of the last steps of this phase; None where it has none, or too few to tell."""


class Heartbeat:
    """The rank's end."""

    def __init__(self, directory: Path, rank: int) -> None:
        """Start to tell the parent, in a file of this rank in the scratch folder."""
        path = directory / f"rank-{rank}.beat"
        path.write_bytes(bytes(_SIZE))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _SIZE)
        self._pid, self._count, self._step = os.getpid(), 0, 0
        self._phase, self._time = 0, 0.0
        self.enter("start")

    def enter(self, phase: Phase) -> None:
        """Say that something else begins."""
        self._phase = _PHASES.index(phase)
        self._say(time.monotonic())

    def ready(self) -> None:
        """Say that the first batch of an epoch is here: what follows is a step."""
        if self._phase == _PHASES.index("start"):
            self.enter("step")

    def beat(self, step: int, phase: Phase = "step") -> None:
        """Say that a step of a phase is done; `step` counts those of the optimizer."""
        now, number = time.monotonic(), _PHASES.index(phase)
        self._count += 1
        self._step = step
        if number == self._phase:
            place = _RINGS[number] + self._count % _REMEMBERED * _SECONDS.size
            _SECONDS.pack_into(self._memory, place, now - self._time)
        self._phase = number
        self._say(now)

    def _say(self, now: float) -> None:
        self._time = now
        _HEAD.pack_into(self._memory, 0, self._count, self._step, self._pid, self._phase, now, self._count)


def read_beats(directory: Path) -> dict[int, Beat]:
    """Read the last beat of each rank of this host, by rank; those that are being written are left out."""
    beats = {}
    for path in directory.glob("rank-*.beat"):
        content = path.read_bytes()
        if len(content) != _SIZE:
            continue
        count, step, pid, phase, when, again = _HEAD.unpack_from(content)
        if count == again and when:
            rank = int(path.stem.removeprefix("rank-"))
            beats[rank] = Beat(count, step, pid, _PHASES[phase], when, _median(content, phase))
    return beats


def _median(content: bytes, phase: int) -> float | None:
    if phase not in _RINGS:
        return None
    ring = content[_RINGS[phase] :][: _REMEMBERED * _SECONDS.size]
    seconds = [value for (value,) in _SECONDS.iter_unpack(ring) if value]
    return statistics.median(seconds) if len(seconds) >= _ENOUGH else None
