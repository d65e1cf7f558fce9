"""gunicorn's worker class for the gateway: what a worker process has, from its fork to its end."""

import logging
import os
import resource
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker as BaseWorker

from ..contract.endpoint import Endpoint
from ..contract.paths import scratch
from .bad_rows import LINES
from .batcher import Batcher, QueueLimits
from .board import READY, Board
from .codecs import default_answer
from .front import Front, Place
from .gateway.limits import Limits
from .gateway.loop import Loop
from .gateway.seats import Passage, Seats
from .gateway.websocket import Talk, WebSockets
from .gateway.wsgi import Threads
from .hot import QUICK, HotRoute
from .queued import Rows
from .runner import Runner
from .settings import ServerSettings

_THREADS = 64
"""Requests that the application answers at once."""

_WAITING = 1024
"""Requests that may wait for one of these threads."""

_IN_TIME = 0.95
"""Part of a request's time after which its answer would not reach the client any more."""

_SPARE_FILES = 128
"""Open files that are not connections."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all workers share, made before the fork."""

    application: Callable[..., Any]
    """The WSGI application."""
    endpoint: Endpoint
    """Settings."""
    board: Board
    """Numbers that all see."""
    passage: Passage
    """Where they pass connections on to each other."""
    settings: ServerSettings
    """How requests wait, and what is told about them."""
    rows: Rows | None
    """A model whose requests need not pass the application; None for everything else."""
    prepare: Callable[[], None] | None
    """What each worker does before it is ready; None where the fork brings all."""
    talk: Talk | None
    """What answers WebSockets; None where the application answers their path, too."""


class Worker(BaseWorker):  # type: ignore[misc]  # gunicorn has no types
    """One process: the loop in its main thread.

    Two things of gunicorn's own end are mended: a SIGTERM that comes right after the fork runs the handler that was
    inherited from the arbiter and ends in the worker's copy of the arbiter's queue, where nobody looks; and at the end
    of a process Python waits for threads that may be stuck, and takes torch apart: a second or two for nothing.
    """

    inherited_signals: "SimpleQueue[int] | None" = None
    """This process's copy of the arbiter's queue."""
    seat = 0
    """Its row of the board."""

    def init_signals(self) -> None:
        """Install the worker's handlers, and heed a SIGTERM that came before; called by gunicorn."""
        super().init_signals()
        while self.inherited_signals and not self.inherited_signals.empty():
            if self.inherited_signals.get() == signal.SIGTERM:
                self.alive = False

    def run(self) -> None:
        """Serve until told to stop, then end the process at once; called by gunicorn."""
        shared: Shared = self.app.shared
        endpoint = shared.endpoint
        files = _raise_open_files()
        seats = Seats(shared.board, shared.passage, self.seat)
        limits = Limits(
            folder=scratch(),
            body=endpoint.max_payload_bytes,
            whole=float(endpoint.timeout),
            connections=files - _SPARE_FILES,
        )
        loop = Loop([listener.sock for listener in self.sockets], limits, seats)
        threads = Threads(self.wsgi, loop, threads=_THREADS, waiting=_WAITING, port=endpoint.port)
        bad_rows = shared.rows.bad_rows if shared.rows else None
        place = Place(board=shared.board, seat=self.seat, patience=float(endpoint.timeout), bad_rows=bad_rows)
        sockets = WebSockets(loop, limits, shared.talk) if shared.talk else None
        front = Front(loop, threads, _hot_route(shared, loop), sockets=sockets, place=place, settings=shared.settings)
        self._prepare(shared)
        loop.run(front, self)
        front.last_words()
        logging.shutdown()
        os._exit(0)

    def _prepare(self, shared: Shared) -> None:
        """Make the worker ready, beside the loop, which says meanwhile that it is not.

        A failure ends the worker; where none is ready, gunicorn ends the server, too, with the exit code of a model.
        """
        row, todo = shared.board.rows[self.seat], shared.prepare
        if todo is None:
            row[READY] = 1.0
            return

        def prepare() -> None:
            try:
                todo()
            except Exception:
                log.exception("The model could not be loaded in this worker")
                logging.shutdown()
                os._exit(1 if any(other[READY] for other in shared.board.rows) else Arbiter.APP_LOAD_ERROR)
            row[READY] = 1.0

        threading.Thread(target=prepare, name="prepare", daemon=True).start()

    def fileno(self) -> int:
        """Pipe that Python's signal handling writes to."""
        return int(self.PIPE[0])

    def tick(self) -> bool:
        """Give a sign of life; False once the worker is to stop."""
        self.notify()
        if self.ppid != os.getppid():
            log.error("The server's main process has ended")
            self.alive = False
        return bool(self.alive)


def _hot_route(shared: Shared, loop: Loop) -> HotRoute | None:
    rows = shared.rows
    if rows is None:
        return None
    settings = shared.settings
    seconds = shared.endpoint.timeout * _IN_TIME
    limits = QueueLimits(requests=settings.queue_requests, size=settings.queue_bytes, seconds=seconds)
    runner = Runner(Batcher(rows.model.direct, rows.pace, limits), loop, inline=rows.pace.inline)
    rows.model.attach(runner)
    # A line that is left out makes an answer that only the application knows to write.
    quick = QUICK - LINES.keys() if shared.endpoint.bad_rows == "nan" else QUICK
    return HotRoute(rows.model, default_answer(shared.endpoint.default_accept), loop, runner, quick=quick)


def before_fork(arbiter: Arbiter, worker: Worker) -> None:
    """Give the worker a seat; gunicorn's hook `pre_fork`."""
    worker.seat = arbiter.app.shared.board.take_seat()


def after_fork(arbiter: Arbiter, worker: Worker) -> None:
    """Keep what the worker needs of the arbiter's copy in its process; gunicorn's hook `post_fork`."""
    worker.inherited_signals = arbiter.SIG_QUEUE


def after_exit(arbiter: Arbiter, worker: Worker) -> None:
    """Take a dead worker's seat back; gunicorn's hook `child_exit`."""
    arbiter.app.shared.board.free_seat(worker.seat)


def _raise_open_files() -> int:
    """Allow as many open files as the container may have; return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 1 << 20
    wanted = most if hard == resource.RLIM_INFINITY else min(hard, most)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
