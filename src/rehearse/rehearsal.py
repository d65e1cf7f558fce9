"""A rehearsal from its start to its end: the state's folder, the server, and what ran before."""

import contextlib
import fcntl
import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import BaseWSGIServer, make_server

from ..errors import ConfigError
from . import disk, endpoints, job_run, monitoring, notebook
from .aws import connect
from .backend import Backend
from .containers import DockerBackend
from .context import Context
from .front import Front
from .keeper import Keeper
from .scaling import Scaler
from .settings import Settings
from .store import Store

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"


class _Handler(MotoRequestHandler):
    """Keeps connections open, and keeps quiet."""

    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Calls are logged by what they ask for."""


@contextlib.contextmanager
def rehearsal(
    state: Path,
    make_backend: Callable[[str], Backend],
    *,
    port: int = 0,
    region: str = "us-east-1",
    settings: Settings | None = None,
) -> Iterator[Context]:
    """Run a rehearsal; whatever it started has ended when this is left.

    Args:
        state: folder that outlives it; one rehearsal at a time.
        make_backend: makes the backend from the name by which what it starts is marked.
        port: port of the loopback; 0 is any.
        region: region of ARNs.
        settings: times.

    Raises:
        ConfigError: another rehearsal has this state, or the port is taken.
    """
    state.mkdir(parents=True, exist_ok=True)
    with _alone(state), _swept(state, make_backend) as (backend, folder):
        front = Front()
        server = _listen(port, front)
        address = f"http://{LOOPBACK}:{server.server_port}"
        context = Context(
            folder=folder,
            homes=(state / "notebooks").resolve(),
            store=Store(state / "resources"),
            backend=backend,
            clients=connect(address, region),
            address=address,
            region=region,
            settings=settings or Settings(),
        )
        if isinstance(backend, DockerBackend):
            backend.listen = lambda gateway: Listening(gateway, front)
        thread = threading.Thread(target=server.serve_forever, name="server", daemon=True)
        thread.start()
        keeper = Keeper(context.clients.s3, state / "s3", front.s3_changed)
        try:
            keeper.restore()
            for kind in (job_run, endpoints, monitoring, notebook):
                kind.recover(context)
            front.context = context
            context.start("Scaler", "scaler", Scaler(context))
            yield context
        finally:
            # Whoever asks now is told so: nothing new may start.
            front.context = None
            context.close()
            keeper.close()
            server.shutdown()
            thread.join()
            server.server_close()


@contextlib.contextmanager
def _swept(state: Path, make_backend: Callable[[str], Backend]) -> Iterator[tuple[Backend, Path]]:
    """A backend, and a folder that goes in the end, once what a dead rehearsal has left is gone."""
    mark = _mark(state)
    backend = make_backend(mark)
    if swept := backend.sweep():
        log.warning("ended %d instances that a dead rehearsal on %s had left", swept, state)
    disk.sweep(mark)
    folder = disk.scratch(mark)
    try:
        yield backend, folder
    finally:
        disk.remove(folder)


class Listening:
    """The same server on one more address, which only the containers of one network have a way to."""

    def __init__(self, host: str, front: Front) -> None:
        self._server = make_server(host, 0, front, threaded=True, request_handler=_Handler)
        self.address = f"http://{host}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name=f"server {host}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _listen(port: int, front: Front) -> BaseWSGIServer:
    try:
        return make_server(LOOPBACK, port, front, threaded=True, request_handler=_Handler)
    except (OSError, SystemExit) as error:
        raise ConfigError(
            f"Port {port} of {LOOPBACK} cannot be had: {error}. Expected a free one: choose another by --port."
        ) from error


def _mark(state: Path) -> str:
    """Name of this state, unlike any other's."""
    file = state / "id"
    if not file.exists():
        file.write_text(uuid.uuid4().hex, encoding="utf-8")
    return file.read_text(encoding="utf-8")


@contextlib.contextmanager
def _alone(state: Path) -> Iterator[None]:
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"Another rehearsal runs on {state}. Expected one at a time: stop it, or name another --state."
            ) from error
        yield
