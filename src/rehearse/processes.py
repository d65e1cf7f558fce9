"""Instances as processes of this machine: the installed package stands in for the image.

Hosts are addresses of the loopback, `/opt/ml` is a folder named by SAGEMAKER_BASE_DIR, and every process carries a mark
in its environment by which all that it starts is found again, whatever group or session it moved to.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from ..contract.paths import BASE_DIR_VARIABLE
from ..errors import PlatformError
from . import disk
from .backend import Spec

MARK = "TWOFOLD_REHEARSAL"
_KEPT = ("HOME", "LANG", "TZ", "USER", "LD_LIBRARY_PATH", "VIRTUAL_ENV")


class ProcessBackend:
    """Runs commands of the virtual environment that this process runs in."""

    name = "process"
    stands_in = "rehearse: no container: the installed package stands in for the image"

    def __init__(self, state: str, environ: Mapping[str, str]) -> None:
        self._mark = state
        self._environ = {name: environ[name] for name in _KEPT if name in environ}
        self._environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environ.get("PATH", os.defpath)])

    def group(self, name: str, hosts: int, *, isolated: bool = False) -> "ProcessGroup":
        """Addresses of the loopback; nothing can isolate a process from the network without being root."""
        del name, isolated
        return ProcessGroup(hosts, self._mark, self._environ)

    def has(self, command: str, image: str) -> bool:
        """Whether a command is on the PATH of what it starts."""
        del image
        return shutil.which(command, path=self._environ["PATH"]) is not None

    def sweep(self) -> int:
        """Kill every process that carries the mark of this state."""
        return _kill_marked(f"{MARK}={self._mark}:")


class ProcessGroup:
    """Hosts of one job; each rehearsed host is an address of its own on the loopback."""

    interface = "lo"

    def __init__(self, hosts: int, mark: str, environ: Mapping[str, str]) -> None:
        network = f"127.{1 + secrets.randbelow(254)}.{secrets.randbelow(256)}"
        self.hosts: Sequence[str] = [f"{network}.{number}" for number in range(1, hosts + 1)]
        self._mark, self._environ = mark, environ
        self._scratches: dict[Path, Path] = {}
        # On one machine the port at which ranks meet must differ from that of every other job.
        self._master_port = str(free_port()) if hosts > 1 else None

    def start(self, spec: Spec) -> "ProcessInstance":
        """Start the command; PlatformError when it cannot be started."""
        argv = [*spec.entrypoint, *spec.arguments] or ["twofold", "auto"]
        # What a command or a variable names below /opt/ml is below the folder that stands for it.
        argv = [argument.replace(spec.place, str(spec.base)) for argument in argv]
        mark = f"{self._mark}:{secrets.token_hex(8)}"
        if spec.base not in self._scratches:
            self._scratches[spec.base] = disk.scratch(self._mark)
        environ = {
            **self._environ,
            "TMPDIR": str(self._scratches[spec.base]),
            "PYTHONUNBUFFERED": "1",
            **({"MASTER_PORT": self._master_port} if self._master_port else {}),
            **{name: _moved(value, spec) for name, value in spec.environ.items()},
            BASE_DIR_VARIABLE: str(spec.base),
            MARK: mark,
        }
        port = free_port() if spec.serves else 0
        if spec.serves:
            environ[spec.port_variable] = str(port)
        try:
            process = subprocess.Popen(
                argv,
                env=environ,
                cwd=spec.base,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise PlatformError(f"{argv[0]!r} cannot be started: {error}. Expected a command on PATH.") from error
        return ProcessInstance(process, port, mark, spec)

    def close(self) -> None:
        """Remove what the processes have left in their temporary folders."""
        for scratch in self._scratches.values():
            disk.remove(scratch)


class ProcessInstance:
    """A process and whatever it starts."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, mark: str, spec: Spec) -> None:
        self.host, self.port = "127.0.0.1", port
        self._process, self._mark = process, mark
        self._reader = threading.Thread(target=_read, args=(process.stdout, spec), daemon=True)
        self._reader.start()

    def poll(self) -> int | None:
        """Exit code as a shell gives it, or None while it runs."""
        code = self._process.poll()
        return 128 - code if code is not None and code < 0 else code

    def signal(self, number: int) -> None:
        """To the first process, as an engine does; SIGKILL takes all of them."""
        if number == signal.SIGKILL:
            _kill_marked(f"{MARK}={self._mark}")
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def close(self) -> None:
        """Kill what is left of it and read its output to the end."""
        _kill_marked(f"{MARK}={self._mark}")
        self._process.wait()
        self._reader.join(timeout=10)
        if self._process.stdout is not None:
            self._process.stdout.close()


def _moved(value: str, spec: Spec) -> str:
    """A variable's value that is a path below `/opt/ml`, in the folder that stands for it."""
    below = value == spec.place or value.startswith(f"{spec.place}/")
    return str(spec.base) + value.removeprefix(spec.place) if below else value


def free_port() -> int:
    """A port of the loopback that is free now; whoever loses it to another is started again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _read(output: IO[bytes] | None, spec: Spec) -> None:
    if output is not None:
        for line in output:
            spec.on_line(line.decode("utf-8", errors="replace").rstrip("\r\n"))


def _kill_marked(mark: str) -> int:
    """Kill the processes whose environment, as they were started, holds a mark; again until there are none."""
    killed = 0
    while found := [number for number in _processes() if mark.encode() in _environment(number)]:
        for number in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(number, signal.SIGKILL)
        killed += len(found)
    return killed


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def _environment(process: int) -> bytes:
    """Environment of a process that can be killed; empty for those of others, dead ones and ourselves."""
    if process == os.getpid():
        return b""
    # A zombie has an empty environment: there is nothing left to kill.
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/environ").read_bytes()
    return b""
