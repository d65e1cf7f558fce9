"""Containers of the image under test: started, bounded in time, read, and taken away whatever happens."""

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import requests
from docker.client import DockerClient
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from ..errors import ConfigError
from .verdict import Failed

LABEL = "twofold.conform"
LOOK_S = 0.05
TIMEOUT_S = 120
"""Seconds that the engine may take to answer."""
LOG_END = 200
"""Characters of a log that a finding quotes."""
Handle = Any
"""docker-py has no types."""


class Engine:
    """A Docker engine of this machine; what was started on it is removed by `close`."""

    def __init__(self, image: str) -> None:
        """Find the engine and the image.

        Raises:
            ConfigError: one of them is not there.
        """
        self._image, self._mark = image, secrets.token_hex(6)
        try:
            self._client: Handle = DockerClient.from_env(timeout=TIMEOUT_S)
            self.attributes: dict[str, Any] = self._client.images.get(image).attrs
        except ImageNotFound as error:
            raise ConfigError(f"The engine has no image {image!r}. Build or pull it first.") from error
        except DockerException as error:
            raise ConfigError(
                f"No Docker engine answers: {error}. Expected one on this machine: start it, or set DOCKER_HOST."
            ) from error

    @property
    def cores(self) -> int:
        """Cores of the engine's machine."""
        return int(self._client.info()["NCPU"])

    def start(
        self,
        *command: str,
        mounts: Mapping[Path, str] | None = None,
        environ: Mapping[str, str] | None = None,
        ports: Sequence[int] = (),
        **settings: Any,  # noqa: ANN401 - of docker-py
    ) -> "Container":
        """Start a container; mounts are folders of this machine by `/place:mode`, settings are those of docker-py.

        Raises:
            Failed: it does not start.
        """
        binds = {
            str(source): dict(zip(("bind", "mode"), at.rsplit(":", 1), strict=True))
            for source, at in (mounts or {}).items()
        }
        container = self._client.containers.create(
            self._image,
            command=list(command),
            name=f"twofold-conform-{self._mark}-{secrets.token_hex(4)}",
            labels={LABEL: self._mark},
            environment=dict(environ or {}),
            volumes=binds,
            ports={f"{port}/tcp": ("127.0.0.1", None) for port in ports},
            **settings,
        )
        try:
            container.start()
        except APIError as error:
            container.remove(force=True, v=True)
            raise Failed(f"{' '.join(command)!r} does not start: {error.explanation}", "Put it on PATH.") from error
        container.reload()
        return Container(container)

    def run(self, *command: str, seconds: float = 120, **options: Any) -> tuple[int, str]:  # noqa: ANN401 - of `start`
        """Run a container to its end: exit code and log. Failed when it takes longer."""
        with self.start(*command, **options) as container:
            return container.wait(seconds), container.log()

    @contextlib.contextmanager
    def network(self) -> Iterator[str]:
        """Make a network for the hosts of a job; yields its name."""
        network = self._client.networks.create(f"twofold-conform-{secrets.token_hex(4)}", labels={LABEL: self._mark})
        try:
            yield network.name
        finally:
            self._sweep()
            network.remove()

    def alias(self, network: str, host: str) -> dict[str, Any]:
        """Settings of a container that is found by a name in a network."""
        endpoint = self._client.api.create_endpoint_config(aliases=[host])
        return {"hostname": host, "network": network, "networking_config": {network: endpoint}}

    def close(self) -> None:
        """Remove what is left."""
        self._sweep()
        self._client.close()

    def _sweep(self) -> None:
        for container in self._client.containers.list(all=True, filters={"label": f"{LABEL}={self._mark}"}):
            with contextlib.suppress(NotFound):
                container.remove(force=True, v=True)


class Container:
    """A container that was started; leaving the `with` block removes it."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(NotFound):
            self._handle.remove(force=True, v=True)

    @property
    def running(self) -> bool:
        """Whether its first process lives."""
        self._handle.reload()
        return bool(self._handle.status == "running")

    def port(self, inside: int) -> int:
        """Port of 127.0.0.1 behind which a port of the container lies."""
        return int(self._handle.attrs["NetworkSettings"]["Ports"][f"{inside}/tcp"][0]["HostPort"])

    def log(self) -> str:
        """Everything it has printed so far."""
        text: bytes = self._handle.logs()
        return text.decode(errors="replace")

    def last_words(self) -> str:
        """Last line of its log, or what there is of it."""
        return self.log().strip().rpartition("\n")[2][:LOG_END] or "nothing in the log"

    def wait(self, seconds: float) -> int:
        """Exit code, once it has ended. Failed when that takes longer."""
        try:
            return int(self._handle.wait(timeout=seconds)["StatusCode"])
        except (requests.exceptions.ConnectionError, requests.exceptions.ReadTimeout) as error:
            raise Failed(
                f"not ended after {seconds:.0f} s: {self.last_words()}", "End, or say what is waited for."
            ) from error

    def stop(self, seconds: int) -> tuple[int, float]:
        """SIGTERM, SIGKILL after so many seconds: exit code, and how long it took."""
        began = time.monotonic()
        self._handle.stop(timeout=seconds)
        return int(self._handle.wait()["StatusCode"]), time.monotonic() - began

    def wait_until(self, condition: Callable[[], object], seconds: float) -> bool:
        """Wait for something while the container runs; whether it came."""
        deadline = time.monotonic() + seconds
        while not (holds := bool(condition())) and time.monotonic() < deadline and self.running:
            time.sleep(LOOK_S)
        return holds


def owner() -> dict[str, Any]:
    """Settings of a container that writes to a folder of ours: root, as on the platform, where we can remove that."""
    return {} if os.getuid() == 0 else {"user": f"{os.getuid()}:{os.getgid()}"}
