"""torchrun for the ranks of one host, with a report in place of its traceback.

Runs as `python -m twofold.train.agent TORCHRUN-ARGUMENTS` with `TWOFOLD_SCRATCH` set.
"""

import logging
import os
import sys
from pathlib import Path

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun

from ..contract.outcome import signal_exit
from . import reports


def main(arguments: list[str], directory: Path) -> int:
    """Run the ranks to their end and return the exit code of the first one that failed, or 0."""
    # Each of its loggers has a level of its own; what they say of a failure is a traceback of torchrun itself.
    logging.disable(logging.ERROR)
    try:
        torchrun(arguments)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(os.environ[reports.SCRATCH_VARIABLE])))
