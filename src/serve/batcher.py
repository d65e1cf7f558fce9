"""Dynamic batching without waiting: a batch is whatever has arrived when the model is free.

Small requests go first but leave a quarter of each batch to large ones, which are cut into pieces and take turns. A
request that could not be answered in time is refused when it comes, not when its time is over.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, Overloaded, TooSlow
from .pace import Pace

_SHARE = 4
"""A request is large from this part of a batch on, and large ones together are never given less of it."""
_MEMORY = 1.0
"""Seconds of computing over which it learns how much longer batches take than was measured at the start."""

log = logging.getLogger(__name__)


class RowModel(Protocol):
    """What computes: rows in, one answer a row out."""

    def predict(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Answer rows `[n, ...]` with `[n, ...]`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """How much may wait."""

    requests: int
    """Requests."""
    size: int
    """Bytes of their rows."""
    seconds: float
    """From a request's arrival to its answer."""


class Job:
    """Rows of one request on their way through the model."""

    __slots__ = (
        "answer",
        "answered",
        "arrived",
        "deadline",
        "error",
        "finish",
        "finished",
        "gone",
        "parts",
        "rows",
        "seconds",
        "started",
        "taken",
    )

    def __init__(
        self, rows: NDArray[Any], arrived: float, finish: Callable[["Job"], None], gone: Callable[[], bool]
    ) -> None:
        self.rows = rows
        self.arrived = arrived
        """When its request came, by the monotonic clock."""
        self.finish = finish
        """Called once, in the loop's thread, when `answer` or `error` is there."""
        self.finished = False
        """Whether that was done."""
        self.gone = gone
        """Whether nobody waits for it any more."""
        self.deadline = math.inf
        self.taken = 0
        """Rows that were given to the model."""
        self.parts: list[NDArray[Any]] = []
        self.answered = 0
        """Rows of `parts`: counted along, since a job of 100 MB has tens of thousands of them."""
        self.answer: NDArray[Any] | None = None
        """All answers, one a row."""
        self.error: Exception | None = None
        self.started = 0.0
        """When the model was given its first row."""
        self.seconds = 0.0
        """Time of the forward passes that it was part of."""

    @property
    def over(self) -> bool:
        """Whether it has its answer or its error."""
        return self.answer is not None or self.error is not None


Batch = list[tuple[Job, int, int]]
"""Jobs with the first and last row of each."""


class Batcher:
    """The queue in front of a model. Jobs come and finish in the loop's thread; the model runs there or in its own."""

    def __init__(self, model: RowModel, pace: Pace, limits: QueueLimits) -> None:
        self._model = model
        self._limits = limits
        self._rows = pace.rows
        self._pace = pace
        self._took = self._should_take = _MEMORY
        self._lock = threading.Lock()
        self._small: deque[Job] = deque()
        self._large: deque[Job] = deque()
        self._requests = 0
        self._size = 0
        self._small_rows = 0
        self._large_rows = 0
        self.current: Batch = []
        """What the model computes now."""
        self.since = 0.0
        """When it was given that, by the monotonic clock; 0 while it has nothing."""
        self.batches: deque[int] = deque()
        """Rows of the batches that nobody has counted yet."""

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._small) + len(self._large)

    @property
    def full(self) -> bool:
        """Whether a whole batch waits."""
        return self._small_rows + self._large_rows >= self._rows

    def offer(self, job: Job) -> None:
        """Queue a job.

        Raises:
            Overloaded: the queue is full, or too long for its time.
        """
        now = time.monotonic()
        job.deadline = job.arrived + self._limits.seconds
        with self._lock:
            if self._requests >= self._limits.requests or self._size + job.rows.nbytes > self._limits.size:
                raise Overloaded(
                    f"{self._requests} requests with {self._size} bytes wait already, and at most "
                    f"{self._limits.requests} or {self._limits.size} may. Try again later, or raise "
                    f"TWOFOLD_QUEUE_REQUESTS or TWOFOLD_QUEUE_MB.",
                    self._retry(),
                )
            small = self._is_small(job)
            ahead = self._small_rows * _SHARE / (_SHARE - 1) if small else self._small_rows + self._large_rows
            wait = self._expected(ahead + len(job.rows)) + self._rest(now)
            if now + wait > job.deadline:
                raise Overloaded(
                    f"An answer would take about {wait:.1f} s, expected at most {self._limits.seconds:g}. Try again "
                    f"later, or send fewer rows in one request.",
                    self._retry(),
                )
            self._requests += 1
            self._size += job.rows.nbytes
            if small:
                self._small.append(job)
                self._small_rows += len(job.rows)
            else:
                self._large.append(job)
                self._large_rows += len(job.rows)

    def take(self) -> tuple[Batch, list[Job]]:
        """Take a batch, which may be empty, and the jobs that are over: too late, or without anybody who waits."""
        now = time.monotonic()
        batch: Batch = []
        over: list[Job] = []
        with self._lock:
            room = self._rows
            reserve = self._rows // _SHARE if self._large else 0
            while self._small and room - reserve >= len(self._small[0].rows):
                job = self._small.popleft()
                self._small_rows -= len(job.rows)
                room -= self._piece(job, len(job.rows), batch, over, now)
            for _ in range(len(self._large)):
                if room <= 0:
                    break
                job = self._large.popleft()
                before = job.taken
                room -= self._piece(job, room, batch, over, now)
                self._large_rows -= (job.taken if not job.over else len(job.rows)) - before
                if job.taken < len(job.rows) and not job.over:
                    self._large.append(job)
            self.current = batch
            self.since = now if batch else 0.0
        return batch, over

    def compute(self, batch: Batch) -> list[Job]:
        """Run the model on a batch; return the jobs that are done. A batch that fails is tried again job by job."""
        start = time.monotonic()
        rows = [job.rows[first:last] for job, first, last in batch]
        try:
            stacked = rows[0] if len(rows) == 1 else np.concatenate(rows)
            answers = self._model.predict(stacked)
            _check_count(len(answers), len(stacked))
            place = 0
            for job, first, last in batch:
                job.parts.append(answers[place : place + last - first])
                job.answered += last - first
                place += last - first
        except Exception as error:  # noqa: BLE001  it is told to whoever's rows it was
            if len(batch) == 1:
                self._fail(batch[0][0], error)
            else:
                log.warning("A batch of %d requests failed, each is tried alone: %s", len(batch), error)
                for part in batch:
                    self.compute([part])
        seconds = time.monotonic() - start
        self._note(sum(map(len, rows)), seconds)
        return [job for job, _, _ in batch if self._completed(job, seconds)]

    def late(self, now: float) -> list[Job]:
        """Give up the jobs in the model's hands whose time is over."""
        late = [job for job, _, _ in list(self.current) if job.deadline < now and not job.over]
        for job in late:
            self._fail(job, TooSlow(f"The model did not answer within {self._limits.seconds:g} s. Send fewer rows."))
        return late

    def _piece(self, job: Job, most: int, batch: Batch, over: list[Job], now: float) -> int:
        """Put rows of a job into a batch; return how many. A job that is over leaves the queue instead."""
        if not job.over and job.deadline < now:
            self._fail(job, Overloaded("The request waited until its time was over. Try again later.", self._retry()))
        if job.over or job.gone():
            job.error = job.error or ConnectionError("the client has gone")
            self._forget(job)
            over.append(job)
            return 0
        first, last = job.taken, min(job.taken + most, len(job.rows))
        job.taken = last
        job.started = job.started or now
        if last == len(job.rows):
            self._forget(job)
        batch.append((job, first, last))
        return last - first

    def _forget(self, job: Job) -> None:
        self._requests -= 1
        self._size -= job.rows.nbytes

    def _fail(self, job: Job, error: Exception) -> None:
        if not job.over:
            job.error = error

    def _completed(self, job: Job, seconds: float) -> bool:
        job.seconds += seconds
        if not job.over and job.answered == len(job.rows):
            job.answer = job.parts[0] if len(job.parts) == 1 else np.concatenate(job.parts)
        return job.over

    def _note(self, rows: int, seconds: float) -> None:
        self.batches.append(rows)
        self._took += seconds
        self._should_take += self._pace.seconds(rows)
        scale = _MEMORY / self._should_take
        if scale < 1:
            self._took *= scale
            self._should_take *= scale

    def _expected(self, rows: float) -> float:
        """Seconds that so many rows should take, by the measurement at the start and what happened since."""
        return self._pace.seconds(rows) * self._took / self._should_take

    def _is_small(self, job: Job) -> bool:
        return len(job.rows) <= self._rows // _SHARE

    def _rest(self, now: float) -> float:
        """Seconds until the model is free, by what its batches took so far."""
        if not self.since:
            return 0.0
        rows = sum(last - first for _, first, last in self.current)
        return max(0.0, self.since + self._expected(rows) - now)

    def _retry(self) -> int:
        """Seconds after which the queue should be empty."""
        return max(1, math.ceil(self._expected(self._small_rows + self._large_rows)))


def _check_count(found: int, expected: int) -> None:
    if found != expected:
        raise ModelError(f"The model gave {found} answers for {expected} rows. Expected one a row, in order.")
