"""Where a whole request goes: `/ping` and the hot route stay in the loop, the rest is for the application's threads.

Everything that is told about requests starts here, too: numbers, lines of the log, the state of the worker.
"""

import logging
import os
import sys
import time
from dataclasses import dataclass

import orjson

from ..errors import Overloaded, RequestError
from .access import access_line
from .bad_rows import Tally
from .board import BUSY_SINCE, IN_FLIGHT, Board
from .conversation import PATH as TALK
from .gateway.connection import Exchange
from .gateway.loop import Loop
from .gateway.reply import JSON, full, refusal
from .gateway.websocket import SWITCHED, WebSockets
from .gateway.wsgi import Threads
from .health import GOOD, Health, health
from .hot import PATH, HotRoute
from .meter import Meter
from .replies import error_body
from .settings import ServerSettings

PING = "/ping"
METRICS = "/metrics"
_PING_METHODS = frozenset({"GET", "HEAD", "POST"})
_MARGIN = 30.0
"""Seconds after which a worker with a stuck model ends, for another to take its place."""
_UNCOUNTED = frozenset({PING, METRICS})

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a worker stands among all, and what it counts beside its requests."""

    board: Board
    """Numbers of all workers."""
    seat: int
    """This worker's row."""
    patience: float
    """Seconds that a model may compute before it counts as stuck."""
    bad_rows: Tally | None = None
    """Lines of requests that were answered by NaN."""


class Front:
    """Handler of the loop."""

    def __init__(
        self,
        loop: Loop,
        threads: Threads,
        hot: HotRoute | None,
        *,
        sockets: WebSockets | None,
        place: Place,
        settings: ServerSettings,
    ) -> None:
        self._loop = loop
        self._threads = threads
        self._hot = hot
        self._sockets = sockets
        self._place = place
        self._settings = settings
        self._row = place.board.rows[place.seat]
        self._meter = Meter(self._row)
        self._told = GOOD
        self._next_metrics = time.monotonic() + settings.metrics_seconds

    @property
    def pending(self) -> bool:
        """Whether a batch waits for the loop's thread."""
        return self._hot is not None and self._hot.runner.pending

    @property
    def idle(self) -> bool:
        """Whether every request has its answer."""
        return not self._row[IN_FLIGHT]

    @property
    def full(self) -> bool:
        """Whether the next batch cannot grow."""
        return self._hot is not None and self._hot.runner.batcher.full

    def take(self, exchange: Exchange) -> None:
        """Answer a request or pass it on."""
        head = exchange.request.head
        if head is None:
            return
        self._row[IN_FLIGHT] += 1
        if self._hot is not None and self._hot.takes(exchange):
            self._hot.take(exchange, head)
            return
        keep_alive = self._loop.keep_alive(exchange)
        if head.path == PING and head.method in _PING_METHODS:
            state = self._health()
            body = error_body(state.status, state.reason) if state.reason else b""
            data = full(head, state.status, body, JSON if body else "", keep_alive=keep_alive)
            self._loop.answer(exchange, data, keep_alive=keep_alive)
            return
        try:
            if self._sockets is not None and head.path == TALK:
                self._sockets.open(exchange, head)
            else:
                self._threads.submit(exchange)
        except (Overloaded, RequestError) as error:
            self._loop.answer(exchange, refusal(head, error, keep_alive=keep_alive), keep_alive=keep_alive)

    def answered(self, exchange: Exchange) -> None:
        """Count an answer, and tell of it if that is wanted."""
        head = exchange.request.head
        if exchange.request.error is None:
            self._row[IN_FLIGHT] -= 1
        if head is not None and head.path in _UNCOUNTED:
            return
        seconds = (time.monotonic() - exchange.arrived, *exchange.seconds)
        if exchange.status != SWITCHED:
            # How long somebody talked is nobody's latency.
            self._meter.answered(exchange.status, seconds)
        if self._settings.access_log:
            _write(access_line(exchange, seconds))

    def turn(self) -> None:
        """Run a batch."""
        if self._hot is not None:
            self._hot.runner.turn()

    def tick(self, now: float) -> None:
        """Give up what takes too long, and tell what is due."""
        since = self._threads.oldest(PATH)
        if self._hot is not None:
            self._hot.runner.tick(now)
            batcher = self._hot.runner.batcher
            while batcher.batches:
                self._meter.batch(batcher.batches.popleft())
            since = min(filter(None, (since, batcher.since)), default=0.0)
            if batcher.since and now - batcher.since > self._place.patience + _MARGIN:
                log.critical("The model has been computing for %.0f s: this worker is given up", now - batcher.since)
                logging.shutdown()
                os._exit(1)
        self._row[BUSY_SINCE] = since
        self._count_bad_rows()
        if self._settings.metrics_seconds and now >= self._next_metrics:
            self._next_metrics = now + self._settings.metrics_seconds
            self._tell_metrics()

    def last_words(self) -> None:
        """Tell what has not been told yet; the end of the worker."""
        self._count_bad_rows()
        if self._settings.metrics_seconds:
            self._tell_metrics()

    def _count_bad_rows(self) -> None:
        if self._place.bad_rows is not None:
            self._meter.bad_rows(self._place.bad_rows.drain())

    def _tell_metrics(self) -> None:
        line = self._meter.embedded(int(1000 * time.time()), os.getpid())
        if line is not None:
            _write(orjson.dumps(line) + b"\n")

    def _health(self) -> Health:
        """Look at the workers; a change is told in the log."""
        state = health(self._place.board, self._place.seat, time.monotonic(), self._place.patience)
        if state.status != self._told.status:
            log.warning("/ping answers %d from now on%s", state.status, f": {state.reason}" if state.reason else "")
        self._told = state
        return state


def _write(line: bytes) -> None:
    """Write a whole line among those of the log, without anything in front."""
    sys.stdout.flush()
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
