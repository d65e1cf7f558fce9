"""Jobs that threads do side by side, and whose results come in the order of the jobs.

    jobs --> taken by one thread at a time --> done by any number --> results in order
      ^                                                                  |
      +------------------------- room for another <----------------------+

A thread takes a job, does it and hands it over without anybody between: each thread that is woken costs more than the
work of a planner would. All waits are those of the C library's queues and locks.
"""

import atexit
import os
import threading
from collections.abc import Callable, Generator, Iterator
from queue import SimpleQueue
from typing import Generic, TypeAlias, TypeVar, cast

from .ahead import Stopped

_Done = TypeVar("_Done")
Job: TypeAlias = Callable[[], _Done]
_Result: TypeAlias = "SimpleQueue[tuple[_Done | None, BaseException | None] | None]"


def in_order(jobs: Iterator[Job[_Done]], threads: int, ahead: int, name: str) -> Generator[_Done, None, None]:
    """Yield the results of jobs in the order of the jobs.

    Args:
        jobs: what is to be done; the next one is taken in one of the threads, one at a time.
        threads: that do them.
        ahead: jobs at most that are being done, or are done and wait, or whose result was the last to be yielded.
        name: of the threads.

    Raises:
        BaseException: what a job, or taking it, has raised, in the place of its result.
        Stopped: the program ends.
    """
    hands = _Hands(jobs, ahead)
    workers = [threading.Thread(target=hands.work, name=name, daemon=True) for _ in range(threads)]
    program = os.getpid()

    def end() -> None:
        # A fork has no such threads.
        if os.getpid() == program:
            hands.stop(threads)
            for worker in workers:
                worker.join()
            hands.begun.put(None)

    for worker in workers:
        worker.start()
    # The interpreter does not wait for daemons, and one that is in torch when it is taken down aborts the process.
    atexit.register(end)
    try:
        yield from hands.results()
    finally:
        atexit.unregister(end)
        end()


class _Hands(Generic[_Done]):
    """What the threads of one `in_order` share."""

    def __init__(self, jobs: Iterator[Job[_Done]], ahead: int) -> None:
        self.begun: SimpleQueue[_Result[_Done] | None] = SimpleQueue()
        """Where the result of each job will be, in order; None where there will be no more."""
        self._jobs, self._turn, self._left = jobs, threading.Lock(), False
        self._room: SimpleQueue[None] = SimpleQueue()
        for _ in range(ahead):
            self._room.put(None)

    def work(self) -> None:
        """Do jobs until there are no more, or nobody wants them."""
        self._room.get()
        while not self._left:
            result: _Result[_Done] = SimpleQueue()
            try:
                with self._turn:
                    self.begun.put(result)
                    job = next(self._jobs, None)
                if job is None:
                    result.put(None)
                    return
                result.put((job(), None))
                # What it holds is not kept while this thread waits.
                del job
            except BaseException as error:  # noqa: BLE001  raised again where the result is awaited
                result.put((None, error))
                return
            self._room.get()

    def results(self) -> Generator[_Done, None, None]:
        """Yield results; when another is asked for there is room for another job."""
        while (result := self.begun.get()) is not None:
            found = result.get()
            if found is None:
                return
            done, error = found
            if error is not None:
                raise error
            yield cast("_Done", done)
            del found, done
            self._room.put(None)
        raise Stopped

    def stop(self, threads: int) -> None:
        """Let the threads do no more jobs."""
        self._left = True
        for _ in range(threads):
            self._room.put(None)
