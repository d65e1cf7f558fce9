"""What a failed run on this host says: the first cause in the failure file, everything in the output data.

rank 0   ConnectionError, a consequence   ┐
rank 1   KeyError in net.py:12            ├─ reports ─→ output/failure            1,024 characters, the first cause
agent    rank 2 was killed by SIGKILL     ┘             output/data/failure/HOST.txt   all of them, in order of time
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..contract import outcome
from ..contract.causes import is_users
from ..contract.job import TrainingJob
from . import reports
from .reports import Report
from .stacks import of_faulthandler
from .supervise import Ending

log = logging.getLogger("twofold.train")

STOPPED_EARLY = 143
"""Exit code of a run that was told to stop and had nothing to save."""
FOLDER = "failure"
"""Folder in the output data for full reports, a file a host: archives of several hosts are merged."""
EVIDENCE = ("*.txt", "*.fatal")
"""Files in the scratch folder that belong to the full report."""
_KILLED = 137


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known of the host's memory at the end."""

    kills: int = 0
    """Processes that the kernel killed in this run because the limit was reached."""
    peak: str = ""
    """The fullest moment in words, with what held it; empty where memory was never short."""


def settle(job: TrainingJob, ending: Ending, directory: Path, memory: Memory) -> int:
    """Judge how the ranks of this host ended, say it, and return the exit code of the job.

    Args:
        job: says where failure file and output data are.
        ending: of the child that ran them.
        directory: where they left their reports.
        memory: tells whether a killed one was killed by the kernel.
    """
    if ending.returncode == 0:
        return 0
    found = [_explained(_placed(report, directory), memory) for report in reports.read(directory)]
    report = found[0] if found else None
    consequence = report is None or report.peer or report.exit_code == STOPPED_EARLY
    if ending.killed or (ending.stopped and consequence):
        log.warning("told to stop: left without a model, before the first step or for want of time to save")
        return STOPPED_EARLY
    if report is None:
        code, sentence = outcome.signal_exit(ending.returncode)
        text = f"internal: the ranks left no report, see the log: their parent {sentence}"
        report = _explained(Report("", text, code), memory)
    reports.release(directory)
    log.error("%s%s", f"{report.source}: " if report.source else "", report.message)
    evidence = [path for pattern in EVIDENCE for path in sorted(directory.glob(pattern)) if path.stat().st_size]
    kept = _write_full(job, found or [report], evidence)
    outcome.write_failure(job.paths, report.message + (f" All ranks: {kept} in the output data." if kept else ""))
    return report.exit_code


def _placed(report: Report, directory: Path) -> Report:
    """Name the line at which native code crashed, which Python wrote down before it was gone."""
    path = directory / f"{report.source.removeprefix('agent of ').replace(' ', '-')}.fatal"
    if not report.signal or not path.exists():
        return report
    place = of_faulthandler(path.read_text(encoding="utf-8", errors="replace")).place
    if place is None:
        return report
    cause = "user code" if is_users(place.file) else "internal"
    return replace(report, message=f"{cause}:{report.message.partition(':')[2]} (at {place})")


def _explained(report: Report, memory: Memory) -> Report:
    """Name the reason of a SIGKILL that the kernel sent for want of memory."""
    if report.exit_code != _KILLED or not (memory.kills or memory.peak):
        return report
    who = report.source.removeprefix("agent of ") or "the agent"
    why = "the kernel killed it because" if memory.kills else "was killed by SIGKILL, most likely because"
    text = (
        f"memory: {who}: {why} the container's memory was full. {memory.peak}{' ' if memory.peak else ''}"
        f"Lower 'batch_size', use fewer processes, or take an instance with more memory (exit code 137)."
    )
    return replace(report, message=text)


def _write_full(job: TrainingJob, found: Sequence[Report], evidence: Sequence[Path]) -> str:
    """Write the full report and return its name; empty where it cannot be written, which costs the report only."""
    start = min(report.time for report in found)
    parts = [
        f"{report.source or 'the ranks'}, {report.time - start:+.3f} s, exit code {report.exit_code}"
        f"{', a consequence' if report.peer else ''}\n{report.message}\n{report.traceback}"
        for report in found
    ]
    parts += [f"{path.stem}\n{path.read_text(encoding='utf-8', errors='replace')}" for path in evidence]
    name = f"{FOLDER}/{job.cluster.current_host}.txt"
    path = job.paths.output_data / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(parts), encoding="utf-8", errors="replace")
    except OSError as error:
        log.warning("no full report, %s cannot be written: %s", path, error)
        return ""
    return name
