"""Which of several ranks that ended badly was the first, and what is said of one that said nothing itself."""

import signal
from dataclasses import dataclass
from pathlib import Path

from ..contract.outcome import signal_exit
from . import reports

PEER_TIMEOUT_S = 10
"""Longest wait for the other ranks of a host once one has failed: what they do is lost in any case."""
SAME_S = 0.02
"""Ends so close together may have been seen in the wrong order."""


@dataclass(frozen=True, slots=True)
class End:
    """How a rank ended that did not end well."""

    rank: int
    exitcode: int
    """As `subprocess` gives it: negative for a signal."""
    time: float
    """Second of a clock that all ranks of this host share."""


def culprit(ended: list[End], within: float) -> End:
    """Return the rank that failed first; the order of ends `within` so many seconds may be wrong.

    Of those, one that was killed by a signal goes before one that ended by itself, since a peer follows in that very
    instant. SIGTERM is how the peers of a dead rank are ended, and SIGKILL once `PEER_TIMEOUT_S` has passed: the first
    says nothing of the cause while another rank ended in any other way.
    """
    causes = [end for end in ended if end.exitcode != -signal.SIGTERM] or ended
    first = min(end.time for end in causes)
    same = [end for end in causes if end.time - first < within]
    return min(same, key=lambda end: (end.exitcode > 0, end.time, end.rank))


def speak_for(end: End, directory: Path) -> int:
    """Leave a report of a rank that left none itself; return the exit code that the host should end with."""
    code, sentence = signal_exit(end.exitcode)
    if not reports.exists(directory, f"rank {end.rank}"):
        said = "platform" if end.exitcode < 0 else "user code"
        wordless = "" if end.exitcode < 0 else " without an error: some code called exit, see the log before that"
        text = f"{said}: rank {end.rank}: {sentence}{wordless}"
        source, number = f"agent of rank {end.rank}", max(0, -end.exitcode)
        reports.write(directory, reports.Report(source, text, code, time=end.time, signal=number))
    return code
