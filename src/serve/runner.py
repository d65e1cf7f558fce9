"""Who runs the model: the loop's own thread where a forward pass is short, else a thread beside it."""

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from numpy.typing import NDArray

from .batcher import Batcher, Job


class Poster(Protocol):
    """What other threads reach the loop's thread by."""

    def post(self, call: Callable[[], None]) -> None:
        """Have the loop call something soon."""
        ...


class Runner:
    """Takes jobs, runs batches, finishes jobs in the loop's thread."""

    def __init__(self, batcher: Batcher, loop: Poster, *, inline: bool) -> None:
        self.batcher = batcher
        self._loop = loop
        self._inline = inline
        self._free = threading.Condition()
        if not inline:
            threading.Thread(target=self._work, name="model", daemon=True).start()

    @property
    def pending(self) -> bool:
        """Whether the loop should call `turn`."""
        return self._inline and self.batcher.waiting > 0

    def offer(self, job: Job) -> None:
        """Queue a job; for the loop's thread.

        Raises:
            Overloaded: it would not be answered in time.
        """
        self.batcher.offer(job)
        if not self._inline:
            with self._free:
                self._free.notify()

    def turn(self) -> None:
        """Run one batch; for the loop's thread."""
        _finish(self._run())

    def tick(self, now: float) -> None:
        """Give up what takes too long."""
        _finish(self.batcher.late(now))

    def predict(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Have rows answered in their turn; for other threads, which wait.

        Raises:
            Overloaded: they would not be answered in time.
        """
        done = threading.Event()
        job = Job(rows, time.monotonic(), lambda _: done.set(), lambda: False)

        def offer() -> None:
            try:
                self.offer(job)
            except Exception as error:  # noqa: BLE001  it is raised in the thread that waits
                job.error = error
                done.set()

        self._loop.post(offer)
        done.wait()
        if job.error is not None:
            raise job.error
        if job.answer is None:
            message = "a job was finished without an answer"
            raise RuntimeError(message)
        return job.answer

    def _run(self) -> list[Job]:
        batcher = self.batcher
        batch, over = batcher.take()
        if batch:
            over += batcher.compute(batch)
        batcher.since, batcher.current = 0.0, []
        return over

    def _work(self) -> None:
        while True:
            with self._free:
                while not self.batcher.waiting:
                    self._free.wait()
            over = self._run()
            if over:
                self._loop.post(lambda over=over: _finish(over))  # type: ignore[misc]  # bound now, not when it is called


def _finish(jobs: list[Job]) -> None:
    for job in jobs:
        if not job.finished:
            job.finished = True
            job.finish(job)
