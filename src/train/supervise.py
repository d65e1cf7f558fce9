"""Run one child as PID 1 must: pass signals on to the ranks, reap every orphan, say how the child ended."""

import contextlib
import ctypes
import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..contract import signals

log = logging.getLogger(__name__)

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_LOOK_S = 0.9
_PR_SET_CHILD_SUBREAPER = 36
"""Option of prctl(2), from linux/prctl.h."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How the child ended."""

    returncode: int
    """Exit code, or minus the number of the signal that killed it."""
    stopped: bool
    """Whether a signal had asked the job to stop before that."""
    killed: bool
    """Whether it had not stopped in time and was killed."""


def supervise(
    argv: Sequence[str],
    environ: Mapping[str, str],
    *,
    stop_timeout_s: float,
    has_ranks: bool = True,
    hung: Callable[[], bool] = lambda: False,
    again: Callable[[Ending, int], Mapping[str, str] | None] = lambda _ending, _wakeup: None,
) -> Ending:
    """Run what starts ranks to its end; SIGTERM and SIGINT go straight to its ranks, or to a child that has none.

    Ranks that are told to stop save and leave with exit code 0, so what is above them ends as in a good run. What is
    still there `stop_timeout_s` after the signal is killed, and so is every process that it leaves behind. So is
    everything once `hung`, asked about once a second, says so.

    When all of that is over `again` is asked whether to start once more, and with which variables besides. It is given
    a descriptor that is readable once there is a stop signal, which counts for the next start if there is one.
    """
    _adopt_orphans()
    with signals.as_bytes((*_STOP_SIGNALS, signal.SIGCHLD)) as wakeup:
        more: Mapping[str, str] | None = {}
        while more is not None:
            child = subprocess.Popen(argv, env={**environ, **more}, start_new_session=True)
            ending = _watch(child, wakeup, stop_timeout_s=stop_timeout_s, has_ranks=has_ranks, hung=hung)
            more = again(ending, wakeup)
        return replace(ending, stopped=ending.stopped or _told_to_stop(wakeup) is not None)


def _watch(
    child: "subprocess.Popen[bytes]", wakeup: int, *, stop_timeout_s: float, has_ranks: bool, hung: Callable[[], bool]
) -> Ending:
    """Wait until a child and all that it leaves behind are gone."""
    deadline: float | None = None
    killed, asked = False, time.monotonic()
    while (returncode := _reap(child)) is None:
        select.select([wakeup], [], [], 1.0)
        number = _told_to_stop(wakeup)
        if number is not None and deadline is None:
            deadline = time.monotonic() + stop_timeout_s
            _stop(children(child.pid) if has_ranks else [], child.pid, number)
        if deadline is not None and time.monotonic() > deadline and not killed:
            log.error("ranks did not leave within %g s of the stop signal: killing them", stop_timeout_s)
            killed = True
            _kill(child.pid)
        if deadline is None and time.monotonic() > asked + _LOOK_S:
            asked = time.monotonic()
            if hung():
                _kill(child.pid)
    _kill_orphans()
    # A signal that has come at the very end is one, too.
    stopped = _told_to_stop(wakeup) is not None or deadline is not None
    return Ending(returncode=returncode, stopped=stopped, killed=killed)


def _told_to_stop(wakeup: int) -> signal.Signals | None:
    """Take all signals that have come; return the first that asks to stop."""
    return next((signal.Signals(number) for number in _pending(wakeup) if number in _STOP_SIGNALS), None)


def _pending(reader: int) -> bytes:
    try:
        return os.read(reader, 1024)
    except BlockingIOError:
        return b""


def _reap(child: "subprocess.Popen[bytes]") -> int | None:
    """Collect every dead child, adopted orphans too, and return the exit code of ours once it is among them."""
    while child.returncode is None:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return None
        if pid == child.pid:
            child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode


def children(pid: int) -> list[int]:
    """Process ids of the living children of a process."""
    found: list[int] = []
    with contextlib.suppress(OSError):  # the process may end while we look
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text(encoding="ascii").split())
    return found


def _stop(ranks: list[int], child: int, number: signal.Signals) -> None:
    """Tell the ranks to stop, or the child where it has none, or has not started any yet."""
    log.info("%s: telling %d ranks to save and leave", number.name, len(ranks) or 1)
    for pid in ranks or [child]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def _adopt_orphans() -> None:
    """Become the parent of ranks whose own parent dies, as PID 1 is anyway: outside a container they would run on."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _kill_orphans() -> None:
    """Kill and collect what the child left behind, and what those leave behind in turn."""
    while orphans := children(os.getpid()):
        for pid in orphans:
            _kill(pid)
            os.waitpid(pid, 0)


def _kill(parent: int) -> None:
    """Kill the children of a process and then itself, each with the session that it leads, if it leads one."""
    for pid in [*children(parent), parent]:
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError):
                kill(pid, signal.SIGKILL)
