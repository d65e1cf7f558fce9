"""gunicorn's threaded worker, with an end that leaves nobody waiting."""

import logging
import os
import signal
import time
from queue import SimpleQueue

from gunicorn.arbiter import Arbiter
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Mends three things about the way a worker stops.

    gunicorn's own keeps its copy of the listening socket until its last request is answered, so the kernel goes on
    making connections that nobody will ever serve. And a SIGTERM that comes right after the fork runs the handler that
    was inherited from the arbiter: it ends in the worker's copy of the arbiter's queue, where nobody looks. And at the
    end of a process Python waits for threads that may be stuck, and takes torch apart: a second or two for nothing.
    """

    inherited_signals: "SimpleQueue[int] | None" = None
    """This process's copy of the arbiter's queue."""

    def init_signals(self) -> None:
        """Install the worker's handlers, and heed a SIGTERM that came before; called by gunicorn."""
        super().init_signals()
        while self.inherited_signals and not self.inherited_signals.empty():
            if self.inherited_signals.get() == signal.SIGTERM:
                self.alive = False

    def run(self) -> None:
        """Serve until told to stop, then end the process at once; called by gunicorn."""
        super().run()
        logging.shutdown()
        os._exit(0)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Accept connections or not; called by gunicorn, with False once it stops."""
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            self._close_listeners()

    def _close_listeners(self) -> None:
        """Take the connections that the kernel has already made, refuse all others, give silent ones up soon."""
        for listener in self.sockets:
            before = -1
            while before < self.nr_conns < self.worker_connections:
                before = self.nr_conns
                self.accept(listener)
            listener.close()
        for connection in self.pending_conns:
            connection.timeout = min(connection.timeout, time.monotonic() + STOP_KEEPALIVE_LINGER)


def after_fork(arbiter: Arbiter, worker: Worker) -> None:
    """Keep what the worker needs of the arbiter's copy in its process; gunicorn's hook `post_fork`."""
    worker.inherited_signals = arbiter.SIG_QUEUE
