"""Worker processes: started with pipes, given units in order, listened to until all units are done.

Plain processes and pipes need no shared memory and no semaphores: a /dev/shm of a few bytes will do.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import IO, Any

from ..contract import outcome, signals
from ..errors import DataError, PlatformError, TwofoldError
from .convert import Done
from .units import Unit

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_GRACE_S = 5.0


class Stopped(TwofoldError):
    """A signal asked for the end."""

    exit_code = 128 + signal.SIGTERM
    cause = "stopped"


class _Worker:
    """One process, and the unit that it has."""

    def __init__(self, first: bytes, environ: dict[str, str]) -> None:
        argv = [sys.executable, "-P", "-m", f"{__package__}.worker"]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ)
        self.unit: Unit | None = None
        self.place = 0
        self._pending = b""
        self.send(first)

    @property
    def stdout(self) -> IO[bytes]:
        return _pipe(self.process.stdout)

    def give(self, unit: Unit) -> None:
        self.unit, self.place = unit, 0
        self.send(json.dumps(asdict(unit)).encode())

    def send(self, line: bytes) -> None:
        pipe = _pipe(self.process.stdin)
        # If it has ended, what it said, or its exit code, tells why.
        with contextlib.suppress(BrokenPipeError):
            pipe.write(line + b"\n")
            pipe.flush()

    def messages(self) -> list[dict[str, Any]] | None:
        """Read what there is; None once it has ended."""
        content = os.read(self.stdout.fileno(), 1 << 20)
        if not content:
            return None
        *lines, self._pending = (self._pending + content).split(b"\n")
        return [json.loads(line) for line in lines]


class Crew:
    """Workers of one run."""

    def __init__(self, told: dict[str, Any], size: int, environ: dict[str, str]) -> None:
        """Take what each worker is told before anything else, how many there may be, and their environment."""
        self.size = size
        self._told, self._environ = json.dumps(told).encode(), environ | dict.fromkeys(_THREADS, "1")

    def run(self, units: list[Unit], *, done: Callable[[Done], None], progress: Callable[[int], None]) -> None:
        """Have all units done.

        Args:
            units: to be given out in this order.
            done: told of each unit, in the order in which they end.
            progress: told how much of the units under way is read, now and then.

        Raises:
            Stopped: SIGTERM or SIGINT.
            TwofoldError: what a worker met.
        """
        waiting = list(reversed(units))
        with signals.as_bytes((signal.SIGTERM, signal.SIGINT)) as wakeup, selectors.DefaultSelector() as selector:
            selector.register(wakeup, selectors.EVENT_READ)
            crew = [_Worker(self._told, self._environ) for _ in range(min(self.size, len(units)))]
            try:
                for worker in crew:
                    selector.register(worker.stdout, selectors.EVENT_READ, worker)
                    worker.give(waiting.pop())
                while any(worker.unit for worker in crew):
                    for key, _ in selector.select():
                        if key.data is None:
                            raise Stopped(f"{signal.Signals(os.read(wakeup, 1)[0]).name} asked for the end")
                        _hear(key.data, waiting, done)
                    progress(sum(worker.place for worker in crew if worker.unit))
            finally:
                _dismiss(crew)


def _hear(worker: _Worker, waiting: list[Unit], done: Callable[[Done], None]) -> None:
    messages = worker.messages()
    if messages is None:
        code, sentence = outcome.signal_exit(worker.process.wait())
        raise PlatformError(
            f"A worker {sentence} (exit code {code}). Expected it to live until all shards are there. Use fewer "
            f"workers (--workers) or an instance with more memory, and run again: what is whole is kept."
        )
    for message in messages:
        if "error" in message:
            raise _error(message)
        if "progress" in message:
            worker.place = message["progress"]
        if "done" in message:
            worker.unit = None
            done(Done.from_json(message["done"]))
            if waiting:
                worker.give(waiting.pop())


def _error(message: dict[str, Any]) -> TwofoldError:
    cause, _, text = message["error"].partition(": ")
    kinds: dict[int, type[TwofoldError]] = {DataError.exit_code: DataError, PlatformError.exit_code: PlatformError}
    error = kinds.get(message["code"], TwofoldError)(text or cause)
    error.exit_code = message["code"]
    error.cause = cause
    return error


def _dismiss(crew: list[_Worker]) -> None:
    """End all workers; what they had begun is removed."""
    for worker in crew:
        worker.process.terminate()
    for worker in crew:
        _pipe(worker.process.stdin).close()
        try:
            worker.process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
        worker.stdout.close()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise PlatformError("A worker has no pipe.")
    return pipe
