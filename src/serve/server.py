"""gunicorn around the application: processes, threads, time-outs and the way to stop."""

import gc
import logging
from collections.abc import Callable
from typing import Any

from flask import Flask, Response
from gunicorn.app.base import BaseApplication
from gunicorn.config import Config
from gunicorn.glogging import Logger

from ..contract.endpoint import Endpoint
from ..contract.machine import cpus
from ..contract.paths import scratch
from .board import Board
from .gateway.seats import Passage
from .gateway.websocket import Talk
from .queued import Rows
from .settings import ServerSettings
from .worker import Shared, Worker, after_exit, after_fork, before_fork

_GRACE = 25
"""Seconds for requests in flight after SIGTERM; the platform kills after 30."""

_MARGIN = 30
"""Seconds beyond a request's own time-out before a worker that gives no sign of life is replaced."""


class RootLog(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's logger without handlers of its own: its lines look like all others."""

    def setup(self, cfg: Config) -> None:
        """Leave format and stream to the root logger; no access log."""
        self.cfg = cfg
        self.error_log.propagate = True
        self.error_log.setLevel(logging.getLogger().level)


class Server(BaseApplication):  # type: ignore[misc]  # the same
    """The one gunicorn application; settings come from the endpoint, never from gunicorn's own files or variables."""

    def __init__(
        self,
        app: Flask,
        endpoint: Endpoint,
        settings: ServerSettings,
        *,
        rows: Rows | None,
        talk: Talk | None,
        prepare: Callable[[], None] | None,
        listener: int | None,
    ) -> None:
        self._settings = gunicorn_settings(endpoint, listener)
        # A worker that stops keeps its seat until it has ended, beside the one that replaces it.
        seats = 2 * int(self._settings["workers"])
        board = Board(seats)
        self.shared = Shared(
            application=app,
            endpoint=endpoint,
            board=board,
            passage=Passage(seats),
            settings=settings,
            rows=rows,
            talk=talk,
            prepare=prepare,
        )
        _add_metrics(app, board)
        super().__init__()

    def load_config(self) -> None:
        """Take the settings; called by gunicorn."""
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def load(self) -> Callable[..., Any]:
        """Give the application to gunicorn, before it forks."""
        return self.shared.application


def gunicorn_settings(endpoint: Endpoint, listener: int | None = None) -> dict[str, Any]:
    """Tell gunicorn what an endpoint needs; `listener` is a socket that listens already."""
    return {
        "bind": f"0.0.0.0:{endpoint.port}" if listener is None else f"fd://{listener}",
        "proc_name": "twofold-serve",
        "preload_app": True,
        "worker_class": Worker,
        "pre_fork": before_fork,
        "post_fork": after_fork,
        "child_exit": after_exit,
        # The table of loaded models is in one process, the models are in processes of their own.
        "workers": 1 if endpoint.multi_model else endpoint.workers or cpus(),
        "timeout": endpoint.timeout + _MARGIN,
        "graceful_timeout": _GRACE,
        # Heartbeat files: /dev/shm may be missing (serverless), /opt/ml is read-only.
        "worker_tmp_dir": str(scratch()),
        # A control socket would be written to the home folder.
        "control_socket_disable": True,
        "logger_class": RootLog,
    }


def run(
    app: Flask,
    endpoint: Endpoint,
    settings: ServerSettings | None = None,
    *,
    rows: Rows | None = None,
    talk: Talk | None = None,
    prepare: Callable[[], None] | None = None,
    listener: int | None = None,
) -> None:
    """Serve until SIGTERM, then answer what is in flight and leave by SystemExit: 0 after a stop that was asked for."""
    given = settings or ServerSettings()
    server = Server(app, endpoint, given, rows=rows, talk=talk, prepare=prepare, listener=listener)
    # What is there now stays: no worker has to look through it again and again, and unshare its memory by that.
    gc.collect()
    gc.freeze()
    server.run()


def _add_metrics(app: Flask, board: Board) -> None:
    @app.get("/metrics")
    def metrics() -> Response:
        # Imported when it is first asked for: it would cost every start 50 ms.
        from .exposition import CONTENT_TYPE, exposition  # noqa: PLC0415

        return Response(exposition(board), content_type=CONTENT_TYPE)
