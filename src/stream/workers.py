"""Processes for a transform in slow Python: forked when a pass begins, fed over sockets, gone when it ends.

    reading thread --> batches in order --> a thread for each worker <--socket--> worker: transform
                                                  |
    consumer      <-- the same order       <------+

A worker is a copy of the program at the beginning of a pass, so the transform may be anything: nothing has to be
pickled or imported again. Random numbers are seeded for each batch, by its place and not by the worker, so that their
number changes nothing.
"""

import atexit
import contextlib
import hashlib
import os
import random
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, NoReturn, TypeAlias, cast

import numpy as np
import torch

from ..contract import outcome
from ..errors import PlatformError, UserError
from .ahead import Stop, read_ahead
from .parcels import receive, send
from .plan import Positions

Batch: TypeAlias = dict[str, Any]
"""Tensors `[n, ...]` by field, or lists of values that are no numbers or differ in shape."""
Item: TypeAlias = tuple[Batch, Positions]
"""A batch and the ids of its samples."""
_Waiting: TypeAlias = tuple["Future[Batch]", int, Batch]
_LOOK_MS = 1000
_FORKING = threading.Lock()


class TransformError(UserError):
    """A transform has failed with an error that could not be made again in the program's own process."""

    cause = "user code"


class _InWorker(Exception):
    """The traceback of an error in a worker: what the error that the program gets was caused by."""


def transformed(
    source: Iterator[Item], transform: Callable[[Batch], Batch], count: int, seeds: Iterator[Sequence[int]]
) -> Generator[Item, None, None]:
    """Yield batches as a transform has made them in `count` processes, in the order in which they came.

    Args:
        source: batches; they are taken in a thread, twice as many ahead as there are processes.
        transform: applied to each.
        count: number of processes.
        seeds: for each batch, whole numbers that all random numbers of the transform come from.

    Raises:
        BaseException: what the transform has raised, caused by the traceback in the worker.
        PlatformError: a worker was killed.
    """
    waiting: SimpleQueue[_Waiting | None] = SimpleQueue()
    workers = [_Worker(transform) for _ in range(count)]
    threads = [threading.Thread(target=worker.serve, args=(waiting,), daemon=True) for worker in workers]

    def feed() -> Iterator[tuple["Future[Batch]", Positions]]:
        for (batch, ids), numbers in zip(source, seeds, strict=False):
            result: Future[Batch] = Future()
            waiting.put((result, _seed(numbers), batch))
            yield result, ids

    results = read_ahead(feed(), 2 * count, Stop())

    def end() -> None:
        # It is executing where the program ends while another thread waits for a batch.
        with contextlib.suppress(ValueError):
            results.close()
        for worker in workers:
            worker.end()
            waiting.put(None)
        for thread in threads:
            thread.join()

    for thread in threads:
        thread.start()
    # A thread that is in torch when the interpreter is taken down aborts the process.
    atexit.register(end)
    try:
        for result, ids in results:
            yield result.result(), ids
    finally:
        atexit.unregister(end)
        end()
        for worker in workers:
            worker.close()


class _Worker:
    """One process, on the program's side."""

    def __init__(self, transform: Callable[[Batch], Batch]) -> None:
        program = os.getpid()
        # A worker that another thread forks meanwhile must not hold the other end: it would hide the death of this one.
        with _FORKING:
            self._connection, theirs = socket.socketpair()
            # What is still to be written would be written twice.
            sys.stdout.flush()
            sys.stderr.flush()
            self._pid = os.fork()
            if not self._pid:
                _work(theirs, transform, program)
            theirs.close()
        self._lock = threading.Lock()
        self._over, self._code = False, cast("int | None", None)

    def serve(self, waiting: "SimpleQueue[_Waiting | None]") -> None:
        """Have the worker transform one batch after the other, until there is None."""
        while (item := waiting.get()) is not None:
            result, seed, batch = item
            try:
                result.set_result(self._ask(seed, batch))
            except BaseException as error:  # noqa: BLE001 - raised again where the batch is awaited
                result.set_exception(error)

    def end(self) -> None:
        """End the process, whatever it does."""
        self._reap()
        # Whoever still reads from it is told that it has gone.
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection, when nobody uses it any more."""
        self._connection.close()

    def _ask(self, seed: int, batch: Batch) -> Batch:
        try:
            send(self._connection, (seed, batch))
            kind, *content = receive(self._connection)
        except (OSError, EOFError) as error:
            raise PlatformError(
                f"A worker of the loader {_end_of(self._reap())} while it transformed a batch. Expected it to live "
                f"until the pass is over: use fewer workers, smaller batches, or an instance with more memory."
            ) from error
        if kind == "error":
            raise _made_again(*content)
        answer: Batch = content[0]
        return answer

    def _reap(self) -> int | None:
        """End the process, if it has not; its exit code, None if somebody else has waited for it."""
        with self._lock:
            if not self._over:
                self._over = True
                with contextlib.suppress(ChildProcessError, ProcessLookupError):
                    # One that is ending by itself keeps its own exit code.
                    os.kill(self._pid, signal.SIGKILL)
                    self._code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self._code


def _work(connection: socket.socket, transform: Callable[[Batch], Batch], program: int) -> NoReturn:
    """Be a worker: never return into what the program was doing when it was forked."""
    code = 1
    try:
        # The program decides when its workers end: a signal to the whole group is meant for it. A handler, unlike
        # SIG_IGN, is not passed on to what a transform may start.
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        threading.Thread(target=_end_with, args=(connection, program), daemon=True).start()
        # Threads of the program's pools are not there any more, and cores are shared with other workers.
        torch.set_num_threads(1)
        while True:
            answer = _answer(transform, *receive(connection))
            try:
                send(connection, answer)
            except TypeError as error:
                send(connection, _described(error))
    except (EOFError, OSError):
        code = 0
    finally:
        os._exit(code)


def _answer(transform: Callable[[Batch], Batch], seed: int, batch: Batch) -> tuple[Any, ...]:
    random.seed(seed)
    np.random.seed(seed % (1 << 32))  # noqa: NPY002 - the generator that transforms use
    torch.default_generator.manual_seed(seed)
    try:
        return "batch", transform(batch)
    except BaseException as error:  # noqa: BLE001 - raised again in the program
        return _described(error)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _described(error: BaseException) -> tuple[Any, ...]:
    """Tell of an error: what it can be made of again, and its traceback without our own part."""
    trace = error.__traceback__.tb_next if error.__traceback__ else None
    text = "".join(traceback.format_exception(type(error), error, trace))
    return "error", type(error).__module__, type(error).__qualname__, _arguments(error), text


def _arguments(error: BaseException) -> tuple[Any, ...] | None:
    """What the error was made with; None if that cannot be sent."""
    made_with = error.__reduce__()[1]
    if not isinstance(made_with, tuple):
        return None
    return made_with if all(item is None or isinstance(item, str | bytes | int | float) for item in made_with) else None


def _made_again(module: str, name: str, arguments: tuple[Any, ...] | None, text: str) -> BaseException:
    """Make the error of a worker again: of its own type where that is known here and can be made."""
    kind: Any = sys.modules.get(module)
    for part in name.split("."):
        kind = getattr(kind, part, None)
    error = None
    if isinstance(kind, type) and issubclass(kind, BaseException) and arguments is not None:
        with contextlib.suppress(Exception):
            error = kind(*arguments)
    error = error or TransformError(f"The loader's transform has failed: {text.strip().splitlines()[-1]}")
    error.__cause__ = _InWorker(f"in a worker of the loader:\n\n{text}")
    return error


def _seed(numbers: Sequence[int]) -> int:
    return int.from_bytes(hashlib.blake2b(repr(tuple(numbers)).encode(), digest_size=8).digest(), "little")


def _end_of(code: int | None) -> str:
    return "has gone" if code is None else outcome.signal_exit(code)[1]


def _end_with(connection: socket.socket, program: int) -> None:
    """End this process when the program has gone, even while the transform computes."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    while os.getppid() == program and not poll.poll(_LOOK_MS):
        pass
    os._exit(0)
