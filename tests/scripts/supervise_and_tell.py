"""Supervises the command in its arguments as PID 1 would, and prints how it ended.

With `AGAIN` in the environment it starts once more. "late": a stop signal comes before it does; "signal": that is why
it does not.
"""

import logging
import os
import select
import signal
import sys
from pathlib import Path

from twofold.train.supervise import children, supervise

logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
# The test says by a file that the ranks hang.
hung = Path(os.environ["HUNG"]).exists if "HUNG" in os.environ else bool
asked = []


def again(ending, wakeup):
    asked.append(ending)
    print(f"asked: returncode={ending.returncode} stopped={ending.stopped}", flush=True)
    if "AGAIN" not in os.environ or len(asked) > 1 or ending.stopped:
        return None
    if os.environ["AGAIN"] == "1":
        return {"START": "2"}
    os.kill(os.getpid(), signal.SIGTERM)
    select.select([wakeup], [], [])
    return {"START": "2"} if os.environ["AGAIN"] == "late" else None


ending = supervise(sys.argv[2:], os.environ, stop_timeout_s=float(sys.argv[1]), hung=hung, again=again)
print(
    f"returncode={ending.returncode} stopped={ending.stopped} killed={ending.killed} left={len(children(os.getpid()))}",
    flush=True,
)
