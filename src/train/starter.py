"""Starts the ranks of one host with torchrun's variables, but without torch, whose import would come before theirs.

    starter ─┬─ rank 0   RANK=0 LOCAL_RANK=0 ...     has the store by which all ranks meet
             └─ rank 1   RANK=1 LOCAL_RANK=1 ...

Runs as `python -m twofold.train.starter COMMAND...` with `TWOFOLD_SCRATCH` in the environment, and what all ranks of
the host share: WORLD_SIZE, LOCAL_WORLD_SIZE, GROUP_RANK, MASTER_ADDR, MASTER_PORT. Scripts of the user's own have
torchrun itself (`agent.py`).
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from . import reports
from .culprit import PEER_TIMEOUT_S, SAME_S, End, culprit, speak_for

ANY_PORT = "0"
"""As `MASTER_PORT`: ranks of one host meet at any that is free."""
SOCKET_VARIABLE = "TWOFOLD_SOCKET"
"""Environment variable that tells the first rank the descriptor of a socket that is bound to the port."""

_GRACE_S = 0.1
"""Time for peers to see by themselves that a rank is gone, and to say why they end."""
_LOOK_S = 0.01
"""Time between two looks at ranks that are about to end."""


def main(command: list[str], environ: Mapping[str, str]) -> int:
    """Run the ranks to their end and return the exit code of the one that failed first, or 0.

    Once a rank has failed its peers are told to end, and killed `PEER_TIMEOUT_S` later.
    """
    ranks, ended = start(command, environ), list[End]()
    steps = [(_GRACE_S, signal.SIGTERM), (_GRACE_S + PEER_TIMEOUT_S, signal.SIGKILL)]
    while ranks:
        pid, status = os.waitpid(-1, os.WNOHANG if ended else 0)
        if pid in ranks:
            end = End(ranks.pop(pid), os.waitstatus_to_exitcode(status), time.monotonic())
            ended += [end] if end.exitcode else []
        elif steps and time.monotonic() > ended[0].time + steps[0][0]:
            _send(ranks, steps.pop(0)[1])
        elif not pid:
            time.sleep(_LOOK_S)
    return speak_for(culprit(ended, SAME_S), Path(environ[reports.SCRATCH_VARIABLE])) if ended else 0


def start(command: list[str], environ: Mapping[str, str]) -> dict[int, int]:
    """Start a Python command as every rank of this host; return their numbers by process id."""
    shared, count = dict(environ), int(environ["LOCAL_WORLD_SIZE"])
    first, ranks = int(environ["GROUP_RANK"]) * count, dict[int, int]()
    with contextlib.ExitStack() as until_started:
        if shared["MASTER_PORT"] == ANY_PORT:
            # Bound until the first rank has it, so that no other process of this machine takes the port meanwhile.
            bound = until_started.enter_context(socket.socket())
            bound.bind((shared["MASTER_ADDR"], 0))
            shared["MASTER_PORT"] = str(bound.getsockname()[1])
            shared[SOCKET_VARIABLE] = str(bound.fileno())
        for number in range(count):
            own = {"RANK": str(first + number), "LOCAL_RANK": str(number)}
            handed = [int(shared[SOCKET_VARIABLE])] if SOCKET_VARIABLE in shared else []
            rank = subprocess.Popen(
                # Unbuffered, since code of a model of the user's own may print.
                [sys.executable, "-u", *command],
                env=shared | own,
                pass_fds=handed,
                # A kill of the rank reaches what it has started.
                start_new_session=True,
            )
            ranks[rank.pid] = first + number
            shared.pop(SOCKET_VARIABLE, None)
    return ranks


def _send(ranks: Iterable[int], number: signal.Signals) -> None:
    for pid in ranks:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
