"""What a rank or the agent leaves behind when it fails, so that the parent can name the first cause."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

SCRATCH_VARIABLE = "TWOFOLD_SCRATCH"
"""Environment variable that tells ranks the folder, one a host and a run, of reports and parsed data."""


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
    """When, in seconds of the monotonic clock that all processes of a host share."""


def write(directory: Path, report: Report) -> None:
    """Leave a report; a process leaves one."""
    stamped = {**asdict(report), "time": time.monotonic()}
    path = directory / f"{report.source.replace(' ', '-')}.json"
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(stamped), encoding="utf-8")
    partial.replace(path)


def first(directory: Path) -> Report | None:
    """Return the earliest report, real causes before consequences; None where nobody left one."""
    reports = [Report(**json.loads(path.read_text(encoding="utf-8"))) for path in directory.glob("*.json")]
    return min(reports, key=lambda report: (report.peer, report.time), default=None)
