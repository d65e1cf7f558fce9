"""Where every thread of a rank is: read from outside by py-spy, else told by the rank itself on SIGUSR1.

py-spy reads the memory of another process, which needs the right to trace it: containers may lack it. It can read a
process that is stopped, too. faulthandler needs no right, but a process that runs.
"""

import faulthandler
import json
import os
import re
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..contract.causes import is_users

_PY_SPY = Path(sysconfig.get_path("scripts")) / "py-spy"
_TIMEOUT_S = 20.0
_ANSWER_S = 5.0
_TOLD_FRAME = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+) in (?P<name>.+)$')
_THREADS = ("Current thread", "Thread")
_PACKAGE = Path(__file__).parents[1]
_COLLECTIVE = ("torch/distributed/", str(_PACKAGE / "train" / "ranks.py"))
_ALONE = ("checkpoint/", "elastic/", "launcher/", "run.py")
"""Parts of torch.distributed that do other things than to wait for ranks."""
_DATA_LOADER = "torch/utils/data/"
_WRAPPERS = ("wrapper", "inner", "_fn")
_COMPILERS = ("torch/_dynamo", "torch/_inductor", "torch/_functorch", "triton/")
_STREAM = str(_PACKAGE / "stream")


@dataclass(frozen=True, slots=True)
class Frame:
    """One call on a stack."""

    file: str
    line: int
    name: str

    def __str__(self) -> str:
        """As in a sentence."""
        return f"{self.file}:{self.line} in {self.name}"


@dataclass(frozen=True, slots=True)
class Stacks:
    """The stacks of one process."""

    main: tuple[Frame, ...] = ()
    """Calls of the main thread, the innermost first; empty where nobody could tell."""
    text: str = ""
    """All threads, for people."""

    @property
    def waits_in(self) -> str:
        """Collective that the main thread waits in, with the line that called it; empty when it is in none."""
        for index, frame in enumerate(self.main):
            if any(part in frame.file for part in _COLLECTIVE) and frame.name not in _WRAPPERS:
                caller = next((one for one in self.main[index:] if _is_ours(one.file)), None)
                return f"{frame.name} ({caller})" if caller else frame.name
            if frame.name == "_engine_run_backward":
                return "the backward pass, which sums gradients over all ranks"
        return ""

    @property
    def blocks_in(self) -> str:
        """The same, if the innermost call of Python is of that collective, not of something that it has called."""
        if not self.main or self.main[0].name == "_engine_run_backward":
            return self.waits_in
        _, found, place = self.main[0].file.rpartition(_COLLECTIVE[0])
        return self.waits_in if found and not place.startswith(_ALONE) else ""

    @property
    def compiles(self) -> bool:
        """Whether it is compiling a model, which may take minutes."""
        return any(part in frame.file for frame in self.main for part in _COMPILERS)

    @property
    def reads(self) -> bool:
        """Whether it waits for data."""
        return any(frame.file.startswith(_STREAM) or _DATA_LOADER in frame.file for frame in self.main)

    @property
    def place(self) -> Frame | None:
        """The user's line that it is in, else the innermost call that is ours, else the innermost."""
        users = [frame for frame in self.main if is_users(frame.file)]
        ours = [frame for frame in self.main if _is_ours(frame.file)]
        return next(iter([*users, *ours, *self.main]), None)


def listen(directory: Path, rank: int) -> None:
    """Let this rank write its stacks into the scratch folder on SIGUSR1, and on a signal that kills it."""
    # Both stay open for as long as the process lives.
    told = (directory / f"rank-{rank}.stacks").open("w", encoding="utf-8")
    faulthandler.register(signal.SIGUSR1, file=told, all_threads=True)
    fatal = (directory / f"rank-{rank}.fatal").open("w", encoding="utf-8")
    faulthandler.enable(file=fatal, all_threads=True)


def take(pid: int, told: Path, *, py_spy: Path = _PY_SPY, wait: Callable[[float], object] = time.sleep) -> Stacks:
    """Take the stacks of a rank; `told` is the file that it writes on SIGUSR1."""
    command = [str(py_spy), "dump", "--nonblocking", "--json", "--full-filenames", "--pid", str(pid)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=True)
        return _of_py_spy(json.loads(done.stdout), pid)
    except (OSError, subprocess.SubprocessError, ValueError):
        return _ask(pid, told, wait)


def _ask(pid: int, told: Path, wait: Callable[[float], object]) -> Stacks:
    """Have the rank tell; one that is stopped runs on for that."""
    if not told.exists():
        return Stacks()
    try:
        os.kill(pid, signal.SIGUSR1)
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return Stacks()
    end, text, before = time.monotonic() + _ANSWER_S, "", None
    # It is written in pieces: whole is what no longer grows.
    while time.monotonic() < end and (not text or text != before):
        wait(0.2)
        before, text = text, told.read_text(encoding="utf-8", errors="replace")
    return of_faulthandler(text)


def _of_py_spy(threads: Sequence[dict[str, object]], pid: int) -> Stacks:
    lines: list[str] = []
    main: tuple[Frame, ...] = ()
    for thread in threads:
        frames = tuple(_frame(one) for one in _list(thread.get("frames")))
        lines += [f"Thread {thread.get('os_thread_id')} {thread.get('thread_name') or ''}".rstrip()]
        lines += [f"    {frame}" for frame in frames]
        if thread.get("os_thread_id") == pid:
            main = frames
    return Stacks(main, "\n".join(lines) + "\n")


def _list(value: object) -> list[dict[str, object]]:
    return value if isinstance(value, list) else []


def _frame(value: dict[str, object]) -> Frame:
    return Frame(str(value.get("filename")), int(str(value.get("line") or 0)), str(value.get("name")))


def of_faulthandler(text: str) -> Stacks:
    """Read what faulthandler wrote; the main thread, the oldest, is the last."""
    threads: list[list[Frame]] = []
    for line in text.splitlines():
        if line.startswith(_THREADS):
            threads.append([])
        elif threads and (found := _TOLD_FRAME.match(line)):
            threads[-1].append(Frame(found["file"], int(found["line"]), found["name"]))
    return Stacks(tuple(threads[-1]) if threads else (), text)


def _is_ours(file: str) -> bool:
    return is_users(file) or file.startswith(str(_PACKAGE))
