"""torchrun for the processes of a script of the user's own on one host, with a report in place of its traceback.

Runs as `python -m twofold.train.agent TORCHRUN-ARGUMENTS` with `TWOFOLD_SCRATCH` set.
"""

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from torch.distributed.elastic.multiprocessing import ProcessFailure, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun

from ..contract.outcome import signal_exit
from . import reports
from .culprit import PEER_TIMEOUT_S, SAME_S, End, culprit, speak_for
from .exits import Exits
from .supervise import children

_NPROC = "--nproc-per-node="
_SAME_STAMP_S = PEER_TIMEOUT_S / 2
"""Ends that torchrun has seen so close together may be in the wrong order."""


def main(arguments: list[str], directory: Path) -> int:
    """Run the ranks to their end and return the exit code of the one that failed first, or 0."""
    # Each of its loggers has a level of its own; what they say of a failure is a traceback of torchrun itself.
    logging.disable(logging.ERROR)
    processes = next((int(text.removeprefix(_NPROC)) for text in arguments if text.startswith(_NPROC)), 1)
    exits = Exits(processes, children, failed=lambda: _has_failed(directory)).start()
    try:
        torchrun(arguments)
    except ChildFailedError as error:
        return speak_for(culprit(*ends(error.failures, exits)), directory)
    except SignalException as error:
        return signal_exit(-error.sigval)[0]
    return 0


def _has_failed(directory: Path) -> bool:
    """Whether a rank has failed: one that is told to stop leaves no report, whatever it ends with."""
    return any(report.source.startswith("rank ") for report in reports.read(directory))


def ends(failures: Mapping[int, ProcessFailure], exits: Exits) -> tuple[list[End], float]:
    """Put torchrun's word of how ranks ended together with ours of when, and say how exact that is.

    Returns:
        One end a rank, and the seconds within which their order may be wrong.
    """
    times = {rank: exits.time(failure.pid) for rank, failure in failures.items()}
    if None in times.values():
        # A rank that was gone before it was found: torchrun's own stamps are whole seconds.
        return [End(rank, one.exitcode, float(one.timestamp)) for rank, one in failures.items()], _SAME_STAMP_S
    return [End(rank, one.exitcode, times[rank] or 0.0) for rank, one in failures.items()], SAME_S


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(os.environ[reports.SCRATCH_VARIABLE])))
