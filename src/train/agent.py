"""torchrun for the ranks of one host, with a report in place of its traceback.

Runs as `python -m twofold.train.agent TORCHRUN-ARGUMENTS` with `TWOFOLD_SCRATCH` set.
"""

import logging
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from torch.distributed.elastic.multiprocessing import ProcessFailure, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun

from ..contract.outcome import signal_exit
from . import reports
from .launch import PEER_TIMEOUT_S


def main(arguments: list[str], directory: Path) -> int:
    """Run the ranks to their end and return the exit code of the one that failed first, or 0."""
    # Each of its loggers has a level of its own; what they say of a failure is a traceback of torchrun itself.
    logging.disable(logging.ERROR)
    try:
        torchrun(arguments)
    except ChildFailedError as error:
        rank, failure = culprit(error.failures)
        code, sentence = signal_exit(failure.exitcode)
        # A rank that could still speak has left its own report: this one is for ranks that were killed.
        if failure.exitcode < 0:
            reports.write(
                directory, reports.Report(f"agent of rank {rank}", f"platform: rank {rank}: {sentence}", code)
            )
        return code
    except SignalException as error:
        return signal_exit(-error.sigval)[0]
    return 0


def culprit(failures: Mapping[int, ProcessFailure]) -> tuple[int, ProcessFailure]:
    """Return the rank that failed first.

    torchrun looks at its ranks ten times a second and stamps what it sees with whole seconds: a peer that ended because
    this one did has often the same stamp, and is seen first by its number. So a rank that was killed by a signal goes
    before one that ended by itself, unless it was torchrun that ended it: with SIGTERM at once, or with SIGKILL once
    `PEER_TIMEOUT_S` has passed. SIGTERM is how torchrun ends the peers of a dead rank: it says nothing of the cause
    while another rank ended in any other way.
    """
    first = min(failure.timestamp for failure in failures.values())

    def order(item: tuple[int, ProcessFailure]) -> tuple[bool, bool, int, int]:
        rank, failure = item
        told = failure.exitcode == -signal.SIGTERM
        killed = failure.exitcode < 0 and not told and failure.timestamp < first + PEER_TIMEOUT_S / 2
        return told, not killed, failure.timestamp, rank

    return min(failures.items(), key=order)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(os.environ[reports.SCRATCH_VARIABLE])))
