"""One process of a script: starts it, relays its output by whole lines, passes SIGTERM on, and reports its failure.

Runs as `python -m twofold.train.script_rank FOLDER COMMAND...` with `TWOFOLD_SCRATCH` set, by torchrun or alone. It
ends as the script has ended: with its exit code, or by the signal that killed it.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from ..contract import logs, signals
from . import reports
from .pulse import PulseWriter, read_pulses
from .script_failure import TAIL_LINES, find_fault

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_OURS = ("PYTHONSAFEPATH", reports.SCRATCH_VARIABLE)
_SITE = Path(__file__).parent / "site"
_CHUNK = 1 << 16
REDRAWN_EVERY_S = 10.0
"""A progress bar that is redrawn with carriage returns becomes a line at most so often."""
_LOOK_S = 0.1


class Relay:
    """Copies output to a descriptor, line by line, and remembers the last lines."""

    def __init__(self, target: int, prefix: str = "") -> None:
        """Write to `target`, with a prefix before every line."""
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._target, self._prefix = target, prefix.encode()
        self._partial = b""
        self._redrawn = -REDRAWN_EVERY_S

    def feed(self, data: bytes) -> None:
        """Take what the script has written."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._write(line.rstrip(b"\r").rpartition(b"\r")[2])
        if b"\r" in self._partial[:-1]:
            # The last drawing that is whole; what comes after it has begun to replace it.
            drawn, _, rest = self._partial[:-1].rpartition(b"\r")
            self._partial = rest + self._partial[-1:]
            last = drawn.rpartition(b"\r")[2]
            if last and time.monotonic() >= self._redrawn + REDRAWN_EVERY_S:
                self._redrawn = time.monotonic()
                self._write(last)
        if len(self._partial) > _CHUNK:
            self.close()

    def close(self) -> None:
        """Write what has no end of line yet."""
        if self._partial:
            self._write(self._partial.rstrip(b"\r").rpartition(b"\r")[2])
        self._partial = b""

    def _write(self, line: bytes) -> None:
        self.tail.append(line.decode("utf-8", "replace"))
        whole = memoryview(self._prefix + line + b"\n")
        while whole:
            whole = whole[os.write(self._target, whole) :]


def run(
    command: list[str], folder: Path, environ: Mapping[str, str], relay: Relay, pulse: PulseWriter
) -> tuple[int, bool]:
    """Run a script to its end; return its exit code, or minus the signal, and whether it was told to stop."""
    told = False
    with signals.as_bytes((*_STOP_SIGNALS, signal.SIGCHLD)) as wakeup:
        # In a group of its own: a signal reaches what the script has started too.
        script = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        pulse.started(script.pid)
        if script.stdout is None:
            raise OSError("no pipe from the script")
        output = script.stdout.fileno()
        os.set_blocking(output, False)
        waiting = [wakeup, output]
        while script.poll() is None:
            ready = select.select(waiting, [], [], 1.0)[0]
            if wakeup in ready and set(os.read(wakeup, 1024)) & set(_STOP_SIGNALS):
                told = True
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(script.pid, signal.SIGTERM)
            if output in ready:
                if _copy(output, relay):
                    pulse.heard()
                else:
                    waiting.remove(output)
        # What the script has started may hold the pipe open: take what is in it.
        while output in waiting and _copy(output, relay):
            pass
        relay.close()
    return script.returncode, told


def _copy(output: int, relay: Relay) -> bool:
    """Relay what there is; tell whether there was anything."""
    try:
        data = os.read(output, _CHUNK)
    except BlockingIOError:
        return False
    relay.feed(data)
    return bool(data)


def script_variables(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Environment of the script: its own folder can be imported from, what is ours is taken out but for `site`."""
    variables = {name: text for name, text in environ.items() if name not in _OURS}
    paths = [str(folder), environ.get("PYTHONPATH", ""), str(_SITE)]
    return {"PYTHONUNBUFFERED": "1", **variables, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Run the script and return its exit code, or minus the signal that killed it."""
    folder, command = Path(arguments[0]), arguments[1:]
    name = environ.get("SM_USER_ENTRY_POINT") or command[-1]
    rank = environ.get("RANK", "0")
    several = environ.get("WORLD_SIZE", "1") != "1"
    directory = Path(environ[reports.SCRATCH_VARIABLE])
    host = environ.get("SM_CURRENT_HOST") if len(json.loads(environ.get("SM_HOSTS", "[]"))) > 1 else None
    relay = Relay(sys.stdout.fileno(), logs.speaker(host, int(rank) if several else None))
    try:
        pulse = PulseWriter(directory, int(rank) if several else 0)
        returncode, told = run(command, folder, script_variables(environ, folder), relay, pulse)
    except OSError as error:
        returncode, told = 126, False
        relay.feed(f"{name} cannot be started: {error}\n".encode())
    if returncode and not told:
        who = f"rank {rank}"
        fault = find_fault(list(relay.tail), returncode, name=name, folder=folder, who=who if several else "")
        report = reports.Report(
            who,
            fault.text,
            fault.exit_code,
            peer=fault.peer,
            signal=max(0, -returncode),
            traceback=fault.traceback,
        )
        reports.write(directory, report)
    if returncode and told:
        _outlast_others(directory)
    return returncode


def _outlast_others(directory: Path) -> None:
    """Stay until no script of this host runs: torchrun kills the others 30 s after the first that ends badly.

    Of ranks that are told to stop most often only one saves, and the signal ends the others. `train` bounds the whole.
    """
    while any(Path(f"/proc/{pulse.pid}").exists() for pulse in read_pulses(directory).values()):
        time.sleep(_LOOK_S)


def _end(returncode: int) -> None:
    """End as the script did: torchrun tells a rank that was killed from one that ended by itself."""
    if returncode < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler to reset
            signal.signal(-returncode, signal.SIG_DFL)
        os.kill(os.getpid(), -returncode)
    sys.exit(returncode if returncode >= 0 else 128 - returncode)


if __name__ == "__main__":
    _end(main(sys.argv[1:], os.environ))
