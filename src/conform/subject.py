"""The image under test, with what it is tested with: data to train on, a model to serve, a request to ask."""

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ..contract.archives import unpack
from ..contract.endpoint import DEFAULT_PORT, MEGABYTE
from ..contract.paths import Paths
from .client import Server
from .engine import Engine
from .verdict import Failed

START_S = 60.0
"""Within so many seconds `/ping` has to be 200; the platform waits for 8 minutes."""
MODEL = f"{Paths().model}:ro"
"""Where the model is mounted; the platform mounts it read-only."""
TABLE = "".join(f"{row % 3},{row % 3 + row % 7 / 10},{row % 5 / 10},{2 - row % 3},{row % 2}\n" for row in range(60))
"""A channel that any image for tables can train on: CSV, three classes first, four features, no header."""
LINES = ("text/csv", "application/jsonlines", "application/x-jsonlines", "text/libsvm")
"""Types of which a body may be repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What `/invocations` is asked."""

    body: bytes = b"1,0.5,2,1\n"
    media_type: str = "text/csv"

    @property
    def headers(self) -> dict[str, str]:
        """Of a request with this body."""
        return {"Content-Type": self.media_type}

    def large(self, size: int) -> bytes:
        """Body of about so many bytes: records repeated; of other types the same one with blanks behind it."""
        if self.media_type.partition(";")[0] not in LINES:
            return self.body.ljust(size)
        record = self.body if self.body.endswith(b"\n") else self.body + b"\n"
        return record * max(1, size // len(record))


@dataclass(slots=True, kw_only=True)
class Subject:
    """An image, and what it has shown so far."""

    engine: Engine
    folder: Path
    """Scratch folder of this run."""
    request: Request = field(default_factory=Request)
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    long: Mapping[str, str] = field(default_factory=dict)
    """Hyperparameters that make training take minutes."""
    data: Path | None = None
    """Folder of the channel `training`; None: a table of ours."""
    model: Path | None = None
    """Model to serve; set by the first check that trains, unless one is given."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """Variables of every container that serves."""
    _rest: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _server: Server | None = None
    _fault: Failed | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._rest.close()
        self.engine.close()

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels of the image."""
        return self.engine.attributes["Config"].get("Labels") or {}

    def claims(self, capability: str) -> bool:
        """Whether a label says that the image can do something that it need not."""
        return self.labels.get(f"com.amazonaws.sagemaker.capabilities.{capability}") == "true"

    def the_model(self) -> Path:
        """Folder of the model; Failed when there is none."""
        if self.model is None:
            raise Failed("no model to serve, since training has left none", "Mend training, or pass --model.")
        return self.model

    @contextlib.contextmanager
    def serve(
        self,
        *,
        seconds: float = START_S,
        port: int = DEFAULT_PORT,
        environ: Mapping[str, str] | None = None,
        mounts: Mapping[Path, str] | None = None,
        also: Sequence[int] = (),
        **settings: Any,  # noqa: ANN401 - of docker-py
    ) -> Iterator[Server]:
        """Run `serve` with the model and wait for `/ping`; Failed when it is not 200 in time."""
        where = {self.the_model(): MODEL} if mounts is None else mounts
        variables = {**self.environ, **(environ or {})}
        with self.engine.start("serve", mounts=where, environ=variables, ports=[port, *also], **settings) as container:
            server = Server(container=container, port=container.port(port))
            if not container.wait_until(lambda: server.ping().status == 200, seconds):
                how = f"within {seconds:.0f} s" if container.running else "before the container ended"
                raise Failed(
                    f"/ping is not 200 {how}: {container.last_words()}",
                    "Serve on port 8080 once the model can answer.",
                )
            yield server

    def server(self) -> Server:
        """The container that checks share which leave it as it is."""
        if self._fault is not None:
            raise self._fault
        if self._server is None or not self._server.container.running:
            try:
                self._server = self._rest.enter_context(self.serve())
            except Failed as error:
                # Every check that needs it would wait as long.
                self._fault = error
                raise
        return self._server

    def ask(self, **options: Any) -> tuple[bytes, str]:  # noqa: ANN401 - of `Server.ask`
        """Ask the shared server the request; body and type of its answer. Failed when it is no 200."""
        answer = self.server().ask("POST", "/invocations", self.request.body, self.request.headers, **options)
        if answer.status != 200:
            raise Failed(f"the request is answered with {answer}: {answer.body[:200]!r}", "Pass --body that it takes.")
        return answer.body, answer.headers.get("content-type", "")

    def megabytes(self, number: float) -> bytes:
        """A body of so many megabytes."""
        return self.request.large(int(number * MEGABYTE))


def unpacked(model: Path, folder: Path) -> Path:
    """Folder of a model that is given as a folder or as `model.tar.gz`, readable for anybody."""
    target = folder / "given"
    if model.is_dir():
        shutil.copytree(model, target)
    else:
        target.mkdir()
        expected = "Expected a model.tar.gz without links: correct --model."
        unpack(model, target, named_as=str(model), expected=expected)
    return readable(target)


def readable(folder: Path) -> Path:
    """Let any user read a folder, as the platform does."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    return folder
