"""Supervises the command in its arguments as PID 1 would, and prints how it ended."""

import logging
import os
import sys
from pathlib import Path

from twofold.train.supervise import children, supervise

logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
# The test says by a file that the ranks hang.
hung = Path(os.environ["HUNG"]).exists if "HUNG" in os.environ else bool
ending = supervise(sys.argv[2:], os.environ, stop_timeout_s=float(sys.argv[1]), hung=hung)
print(
    f"returncode={ending.returncode} stopped={ending.stopped} killed={ending.killed} left={len(children(os.getpid()))}",
    flush=True,
)
