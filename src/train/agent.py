"""torchrun for the ranks of one host, with a report in place of its traceback.

Runs as `python -m twofold.train.agent TORCHRUN-ARGUMENTS` with `TWOFOLD_SCRATCH` set.
"""

import logging
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch.distributed.elastic.multiprocessing import ProcessFailure, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun

from ..contract.outcome import signal_exit
from . import reports
from .exits import Exits
from .launch import PEER_TIMEOUT_S
from .supervise import children

_NPROC = "--nproc-per-node="
_SAME_S, _SAME_STAMP_S = 0.02, PEER_TIMEOUT_S / 2
"""Ends so close together may have been seen in the wrong order, by us and by torchrun."""


@dataclass(frozen=True, slots=True)
class End:
    """How a rank ended that did not end well."""

    rank: int
    exitcode: int
    """As `subprocess` gives it: negative for a signal."""
    time: float
    """Second of a clock that all ranks of this host share."""


def main(arguments: list[str], directory: Path) -> int:
    """Run the ranks to their end and return the exit code of the one that failed first, or 0."""
    # Each of its loggers has a level of its own; what they say of a failure is a traceback of torchrun itself.
    logging.disable(logging.ERROR)
    processes = next((int(text.removeprefix(_NPROC)) for text in arguments if text.startswith(_NPROC)), 1)
    exits = Exits(processes, children).start()
    try:
        torchrun(arguments)
    except ChildFailedError as error:
        end = culprit(*ends(error.failures, exits))
        code, sentence = signal_exit(end.exitcode)
        if not reports.exists(directory, f"rank {end.rank}"):
            said = "platform" if end.exitcode < 0 else "user code"
            wordless = "" if end.exitcode < 0 else " without an error: some code called exit, see the log before that"
            text = f"{said}: rank {end.rank}: {sentence}{wordless}"
            source, number = f"agent of rank {end.rank}", max(0, -end.exitcode)
            reports.write(directory, reports.Report(source, text, code, time=end.time, signal=number))
        return code
    except SignalException as error:
        return signal_exit(-error.sigval)[0]
    return 0


def ends(failures: Mapping[int, ProcessFailure], exits: Exits) -> tuple[list[End], float]:
    """Put torchrun's word of how ranks ended together with ours of when, and say how exact that is.

    Returns:
        One end a rank, and the seconds within which their order may be wrong.
    """
    times = {rank: exits.time(failure.pid) for rank, failure in failures.items()}
    if None in times.values():
        # A rank that was gone before it was found: torchrun's own stamps are whole seconds.
        return [End(rank, one.exitcode, float(one.timestamp)) for rank, one in failures.items()], _SAME_STAMP_S
    return [End(rank, one.exitcode, times[rank] or 0.0) for rank, one in failures.items()], _SAME_S


def culprit(ended: list[End], within: float) -> End:
    """Return the rank that failed first; the order of ends `within` so many seconds may be wrong.

    Of those, one that was killed by a signal goes before one that ended by itself, since a peer follows in that very
    instant. SIGTERM is how torchrun ends the peers of a dead rank, and SIGKILL once `PEER_TIMEOUT_S` has passed: the
    first says nothing of the cause while another rank ended in any other way.
    """
    causes = [end for end in ended if end.exitcode != -signal.SIGTERM] or ended
    first = min(end.time for end in causes)
    same = [end for end in causes if end.time - first < within]
    return min(same, key=lambda end: (end.exitcode > 0, end.time, end.rank))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(os.environ[reports.SCRATCH_VARIABLE])))
