"""The hot route: short requests to a model of rows, decoded and answered by the loop's thread, without Flask."""

import time

from ..formats.table import media_type
from .access import named
from .batcher import Job
from .codecs import Answer, choose_answer, read_rows
from .gateway.connection import Exchange
from .gateway.head import Head
from .gateway.loop import Loop
from .gateway.reply import CUSTOM_ATTRIBUTES, full, refusal
from .replies import told
from .rows_service import ServedModel
from .runner import Runner
from .sessions import SESSION_HEADER

MAX_BODY = 256 << 10
"""Bytes; decoding more would hold up the other connections, so a thread does it. Enough for an image as JSON."""

QUICK = frozenset(
    {
        "",
        "application/octet-stream",
        "application/json",
        "application/jsonlines",
        "application/x-npy",
        "text/csv",
    }
)
"""Types that are decoded about as fast as they are read, and to no more than a few times their size."""

_SESSION = SESSION_HEADER.lower()
PATH = "/invocations"


class HotRoute:
    """Answers one request after the other for a model."""

    def __init__(
        self, model: ServedModel, default: Answer, loop: Loop, runner: Runner, *, quick: frozenset[str] = QUICK
    ) -> None:
        """Take a model and what leads to it; of the types, only those in `quick`."""
        self._model = model
        self._default = default
        self._loop = loop
        self._quick = quick
        self.runner = runner

    def takes(self, exchange: Exchange) -> bool:
        """Whether a request is one of those."""
        request = exchange.request
        head = request.head
        return (
            head is not None
            and head.path == PATH
            and head.method == "POST"
            and 0 < len(request.body) <= MAX_BODY
            and media_type(head.content_type) in self._quick
            and not head.get(_SESSION)
        )

    def take(self, exchange: Exchange, head: Head) -> None:
        """Decode a request and queue its rows."""
        start = time.monotonic()
        try:
            answer = choose_answer(head.accept, self._default)
            rows = read_rows(exchange.request.body, head.content_type, self._model.row_shape)
            self._model.check(rows)
            exchange.rows = len(rows)
            now = time.monotonic()
            exchange.seconds = (0.0, now - start, 0.0, 0.0)
            self.runner.offer(
                Job(rows, now, lambda job: self._finish(exchange, head, answer, job), lambda: exchange.gone)
            )
        except Exception as error:  # noqa: BLE001  whatever goes wrong is the answer
            self._refuse(exchange, head, error)

    def _finish(self, exchange: Exchange, head: Head, answer: Answer, job: Job) -> None:
        if job.answer is None and exchange.gone:
            self._loop.abort(exchange)
            return
        if job.answer is None:
            self._refuse(exchange, head, job.error or RuntimeError("no answer"))
            return
        start = time.monotonic()
        try:
            body = answer.encode(job.answer, self._model.labels(job.answer))
        except Exception as error:  # noqa: BLE001  the same
            self._refuse(exchange, head, error)
            return
        exchange.seconds = (job.started - job.arrived, exchange.seconds[1], job.seconds, time.monotonic() - start)
        keep_alive = self._loop.keep_alive(exchange)
        more = [(CUSTOM_ATTRIBUTES, head.custom_attributes)] if head.custom_attributes else []
        data = full(head, 200, body, answer.content_type, keep_alive=keep_alive, more=more)
        self._loop.answer(exchange, data, keep_alive=keep_alive)

    def _refuse(self, exchange: Exchange, head: Head, error: Exception) -> None:
        if exchange.done:
            return
        keep_alive = self._loop.keep_alive(exchange)
        self._loop.answer(
            exchange, refusal(head, told(error, named(head)), keep_alive=keep_alive), keep_alive=keep_alive
        )
