"""What a failed run on this host says: the first cause in the failure file, everything in the output data.

rank 0   ConnectionError, a consequence   ┐
rank 1   KeyError in net.py:12            ├─ reports ─→ output/failure            1,024 characters, the first cause
agent    rank 2 was killed by SIGKILL     ┘             output/data/failure/HOST.txt   all of them, in order of time
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..contract import outcome
from ..contract.causes import is_users
from ..contract.cluster import Cluster
from ..contract.job import TrainingJob
from . import reports
from .peers import Peers, Word
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


def settle(job: TrainingJob, ending: Ending, directory: Path, memory: Memory, peers: Peers) -> int:
    """Judge how the ranks of this host ended, say it, to the other hosts too, and return the exit code of the job.

    Args:
        job: says where failure file and output data are.
        ending: of the child that ran them.
        directory: where they left their reports.
        memory: tells whether a killed one was killed by the kernel.
        peers: are asked for the cause where this host has only lost its peers.
    """
    if ending.returncode == 0:
        return 0
    found = [_explained(_placed(report, directory), memory) for report in reports.read(directory)]
    report = found[0] if found else None
    # Of a shortage after which all would have begun again the job was told to stop, too.
    consequence = report is None or is_lost(report, peers) or bool(report.smaller)
    if ending.killed or (ending.stopped and consequence):
        log.warning("told to stop: left without a model, before the first step or for want of time to save")
        return STOPPED_EARLY
    if report is None:
        code, sentence = outcome.signal_exit(ending.returncode)
        text = f"internal: the ranks left no report, see the log: their parent {sentence}"
        # Ranks that were ended because another host had failed leave none either.
        report = _explained(Report("", text, code, peer=peers.have_spoken), memory)
        found = [report]
    reports.release(directory)
    text, lost = on_host(job.cluster, report.message), is_lost(report, peers)
    if report.smaller and peers.verdict:
        return _echo(job, peers.verdict, found, directory)
    if lost:
        peers.tell(text, report.exit_code, lost=True)
        if word := peers.cause():
            if word.smaller:
                # Hosts that have heard from all have begun again: this one has not, and does not.
                peers.tell(word.message, word.exit_code, lost=False)
            return _echo(job, word, found, directory)
    if (lost or report.smaller) and peers.silent():
        text += f" No word from {', '.join(peers.silent())}: look there first."
    log.error("%s%s", f"{report.source}: " if report.source else "", text)
    kept = _write_full(job, found, directory)
    text += f" All ranks: {kept} in the output data." if kept else ""
    outcome.write_failure(job.paths, text)
    if not lost:
        peers.tell(text, report.exit_code, lost=False)
    return report.exit_code


def is_lost(report: Report | None, peers: Peers) -> bool:
    """Whether the ranks of this host have only lost others, by their first report or by what others have said."""
    return peers.have_spoken if report is None else report.peer or report.exit_code == STOPPED_EARLY


def _echo(job: TrainingJob, word: Word, found: Sequence[Report], directory: Path) -> int:
    """Say what another host has found, as that host says it."""
    theirs = Report(f"host {word.host}", word.message, word.exit_code, time=time.monotonic())
    _write_full(job, [theirs, *found], directory)
    log.error("%s", word.message)
    outcome.write_failure(job.paths, word.message)
    return word.exit_code


def on_host(cluster: Cluster, message: str) -> str:
    """Name this host in a message, after the class, where there are several."""
    cause, _, rest = message.partition(": ")
    if cluster.size == 1 or not rest:
        return message
    return f"{cause}: host {cluster.current_host}{', ' if rest.startswith('rank') else ': '}{rest}"


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


def _write_full(job: TrainingJob, found: Sequence[Report], directory: Path) -> str:
    """Write the full report and return its name; empty where it cannot be written, which costs the report only."""
    start = min(report.time for report in found)
    parts = [
        f"{report.source or 'the ranks'}, {report.time - start:+.3f} s, exit code {report.exit_code}"
        f"{', a consequence' if report.peer else ''}\n{report.message}\n{report.traceback}"
        for report in found
    ]
    evidence = [path for pattern in EVIDENCE for path in sorted(directory.glob(pattern)) if path.stat().st_size]
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
