"""One notebook instance while it runs: its folder, the scripts of its lifecycle configuration, JupyterLab.

Pending: OnCreate, git clone (the first time only) -> OnStart -> JupyterLab answers -> InService -> Stopping -> Stopped
    +-> Failed
"""

import base64
import logging
import secrets
import threading
import time
from collections.abc import Callable

from ..errors import PlatformError, TwofoldError
from .backend import LOOK_S, Instance, Spec, end
from .context import Cause, Context
from .logs import Stream
from .serving import Server
from .store import Document

log = logging.getLogger(__name__)

KIND, CONFIG = "NotebookInstance", "NotebookInstanceLifecycleConfig"
LOG_GROUP = "/aws/sagemaker/NotebookInstances"
HOME = "/home/ec2-user"
FOLDER = f"{HOME}/SageMaker"
COMMAND = "jupyter-lab"
IMAGE = "twofold:studio"
"""What a container of it is made of: the target `studio` of our Dockerfile."""
Starter = Callable[[Spec], Instance]
SCRIPT_S = 300.0
"""A script of a lifecycle configuration must end within 5 minutes."""
STARTUP_S = 300.0


class NotebookRun:
    """Runs a notebook instance until it is stopped or the rehearsal ends."""

    def __init__(self, context: Context, name: str) -> None:
        self._context, self._name = context, name
        self._notebook = context.store.get(KIND, name)
        self._home = context.homes / name
        self._token = secrets.token_hex(24)
        self._ended = threading.Event()
        self._cause: Cause | None = None
        self._server: Server | None = None
        self._streams: list[Stream] = []
        self.thread = threading.Thread(target=self._run, name=f"{KIND} {name}", daemon=True)

    def tell(self, cause: Cause) -> bool:
        """End it: it is stopped, or the rehearsal ends."""
        self._cause = cause
        self._ended.set()
        return True

    @property
    def url(self) -> str:
        """Address of JupyterLab with the token that opens it."""
        place = self._server.place if self._server is not None else None
        return f"http://{place}/lab?token={self._token}" if place else ""

    def _run(self) -> None:
        try:
            self._serve()
            if self._cause == "stopped":
                self._update("Stopped")
        except TwofoldError as error:
            self._update("Failed", FailureReason=str(error)[:1024])
        except Exception as error:
            log.exception("notebook instance %s", self._name)
            self._update("Failed", FailureReason=f"InternalServerError: {type(error).__name__}: {error}"[:1024])
        finally:
            self._context.ended(self)

    def _serve(self) -> None:
        first = not self._home.exists()
        (self._home / "SageMaker").mkdir(parents=True, exist_ok=True)
        group = self._context.backend.group(f"notebook-{self._name}", 1)
        try:
            if first:
                self._script(group.start, "OnCreate")
                for url in self._repositories():
                    place = f"{FOLDER}/{url.rstrip('/').rpartition('/')[2].removesuffix('.git')}"
                    self._to_its_end(group.start, "GitClone", ["git", "clone", "--", url, place])
            self._script(group.start, "OnStart")
            if not self._ended.is_set():
                settings = self._context.settings
                self._server = Server(
                    group,
                    self._lab(),
                    startup_s=STARTUP_S,
                    health_s=settings.health_s,
                    grace_s=settings.serving_grace_s,
                    ping="/api",
                )
                self._follow(self._server)
        finally:
            if self._server is not None:
                self._server.close()
            group.close()
            self._flush()

    def _follow(self, server: Server) -> None:
        shown = False
        while not self._ended.wait(LOOK_S if not shown else self._context.settings.sync_s):
            self._flush()
            if server.failure is not None:
                raise PlatformError(server.failure)
            if server.healthy and not shown:
                shown = True
                self._update("InService", Url=server.place)

    def _lab(self) -> Spec:
        return self._spec(
            "jupyter",
            [
                COMMAND,
                "--no-browser",
                "--allow-root",
                # A container is asked on the address of its network, a process only on the loopback.
                f"--ServerApp.ip={'127.0.0.1' if self._context.backend.stands_in else '0.0.0.0'}",  # noqa: S104
                "--ServerApp.port_retries=0",
                f"--ServerApp.root_dir={FOLDER}",
            ],
            serves=True,
            JUPYTER_TOKEN=self._token,
        )

    def _script(self, start: Starter, which: str) -> None:
        """Run a script of the lifecycle configuration, if there is one."""
        name = self._notebook.get("NotebookInstanceLifecycleConfigName")
        given = (self._context.store.get(CONFIG, name) if name else {}).get(which)
        if not given:
            return
        text = base64.b64decode(given[0]["Content"]).decode()
        if self._context.backend.stands_in:
            text = text.replace(HOME, str(self._home))
        file = self._home / ".lifecycle" / which
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
        self._to_its_end(start, f"LifecycleConfig{which}", ["bash", f"{HOME}/.lifecycle/{which}"])

    def _to_its_end(self, start: Starter, what: str, argv: list[str]) -> None:
        """Run a command to its end.

        Raises:
            PlatformError: it fails or takes too long.
        """
        instance, deadline = start(self._spec(what, argv)), time.monotonic() + SCRIPT_S
        while instance.poll() is None and time.monotonic() < deadline and not self._ended.wait(LOOK_S):
            self._flush()
        late = instance.poll() is None and not self._ended.is_set()
        end([instance], 0)
        code = instance.poll()
        instance.close()
        if late:
            raise PlatformError(f"{what} took longer than {SCRIPT_S:.0f} s. Let it start long work in the background.")
        if code and not self._ended.is_set():
            raise PlatformError(f"{what} failed with exit code {code}. See the log stream {self._name}/{what}.")

    def _spec(self, what: str, argv: list[str], *, serves: bool = False, **environ: str) -> Spec:
        stream = Stream(self._context.clients, LOG_GROUP, f"{self._name}/{what}")
        self._streams.append(stream)
        return Spec(
            name=f"notebook-{self._name}-{what}",
            image=IMAGE,
            base=self._home,
            place=HOME,
            entrypoint=argv,
            environ={**self._context.environ(), "HOME": HOME, **environ},
            on_line=stream.line,
            serves=serves,
            port_variable="JUPYTER_PORT",
            root=True,
        )

    def _repositories(self) -> list[str]:
        first = self._notebook.get("DefaultCodeRepository")
        return [*([first] if first else []), *self._notebook.get("AdditionalCodeRepositories", [])]

    def _flush(self) -> None:
        for stream in self._streams:
            stream.flush()

    def _update(self, status: str, **fields: object) -> Document:
        return self._context.store.update(KIND, self._name, NotebookInstanceStatus=status, **fields)
