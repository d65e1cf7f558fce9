"""What a rank or the agent leaves behind when it fails, so that the parent can name the first cause."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

SCRATCH_VARIABLE = "TWOFOLD_SCRATCH"
"""Environment variable that tells ranks the folder, one a host and a run, of reports and parsed data."""
_RESERVE, _RESERVE_BYTES = "reserve", 256 << 10
"""File that gives way where the disk is full, so that the rank which filled it can still say so."""


@dataclass(frozen=True, slots=True)
class Report:
    """How one process of the job failed."""

    source: str
    """Who failed, e.g. `rank 1`."""
    message: str
    """Text for the failure file: cause, message, place."""
    exit_code: int
    """Exit code that the job should end with."""
    peer: bool = False
    """Whether this looks like the consequence of another process failing: a real cause beats it."""
    time: float = 0.0
    """When, in seconds of the monotonic clock that all processes of a host share; 0: as it is written."""
    signal: int = 0
    """Signal that ended the process; 0 for one that could still speak."""
    traceback: str = ""
    """Traceback, for the full report; empty for errors of ours, whose message says it."""
    smaller: int = 0
    """Samples of one forward pass with which all ranks may begin again; 0: that would not help, or cost too much."""
    shortage: str = ""
    """What ran out where, for the line that says why they do; empty where they do not."""


def write(directory: Path, report: Report) -> None:
    """Leave a report; a process leaves one."""
    stamped = {**asdict(report), "time": report.time or time.monotonic()}
    path = _path(directory, report.source)
    partial = path.with_suffix(".partial")
    try:
        partial.write_text(json.dumps(stamped), encoding="utf-8")
    except OSError:
        release(directory)
        partial.write_text(json.dumps(stamped), encoding="utf-8")
    partial.replace(path)


def withdraw(directory: Path, source: str) -> None:
    """Take back a report, if there is one: it has turned out that nothing had failed."""
    _path(directory, source).unlink(missing_ok=True)


def reserve(directory: Path) -> None:
    """Keep room on the disk for reports."""
    (directory / _RESERVE).write_bytes(bytes(_RESERVE_BYTES))


def release(directory: Path) -> None:
    """Give that room back."""
    (directory / _RESERVE).unlink(missing_ok=True)


def read(directory: Path) -> list[Report]:
    """Return all reports, the earliest first, real causes before consequences."""
    reports = [Report(**json.loads(path.read_text(encoding="utf-8"))) for path in directory.glob("*.json")]
    return sorted(reports, key=lambda report: (report.peer, report.time))


def first(directory: Path) -> Report | None:
    """Return the earliest report, real causes before consequences; None where nobody left one."""
    return next(iter(read(directory)), None)


def exists(directory: Path, source: str) -> bool:
    """Tell whether a process has left its report."""
    return _path(directory, source).exists()


def _path(directory: Path, source: str) -> Path:
    return directory / f"{source.replace(' ', '-')}.json"
