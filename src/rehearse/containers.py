"""Instances as containers of a Docker engine on this machine: the named image, host names, a network for each job."""

import contextlib
import os
import secrets
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from docker.client import DockerClient
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from ..contract.endpoint import DEFAULT_PORT
from ..contract.paths import DEFAULT_BASE_DIR
from ..errors import ConfigError, PlatformError
from .backend import BIND_TO_PORT, Spec

LABEL = "twofold.rehearsal"
NOBODY = "65534:65534"
SERVERLESS_CPUS = 1_000_000_000
"""One core, in Docker's unit."""
Engine = Any
"""docker-py has no types."""


class Listener(Protocol):
    """Our own server, on one more address."""

    address: str
    """E.g. `http://198.18.128.1:40123`."""

    def close(self) -> None:
        """Stop listening there."""


class DockerBackend:
    """Runs images that the engine has; it pulls none."""

    name = "docker"
    stands_in = ""

    def __init__(self, state: str) -> None:
        """Find the engine.

        Raises:
            ConfigError: none answers.
        """
        self._mark = state
        try:
            self._engine: Engine = DockerClient.from_env()
            self._engine.ping()
        except DockerException as error:
            raise ConfigError(
                f"No Docker engine answers: {error}. Expected one on this machine: start it, or take --backend process."
            ) from error
        self.listen: Callable[[str], Listener] | None = None
        """Opens our address to containers; set once the server runs."""

    def group(self, name: str, hosts: int, *, isolated: bool = False) -> "ContainerGroup":
        """Make a network; PlatformError when it cannot be made."""
        title = f"twofold-{name[:80]}-{secrets.token_hex(4)}"
        try:
            network = self._engine.networks.create(
                title, driver="bridge", internal=isolated, labels={LABEL: self._mark}, check_duplicate=True
            )
            network.reload()
        except APIError as error:
            raise PlatformError(f"The engine makes no network: {error}.") from error
        gateway = network.attrs["IPAM"]["Config"][0]["Gateway"]
        try:
            listener = None if isolated or self.listen is None else self.listen(gateway)
        except (OSError, SystemExit) as error:
            # werkzeug ends the process where it cannot bind.
            network.remove()
            raise PlatformError(
                f"The network's gateway {gateway} is no address of this machine: {error}. Expected an engine that runs "
                f"here, not in a virtual machine."
            ) from error
        return ContainerGroup(self._engine, network, hosts, self._mark, listener)

    def has(self, command: str, image: str) -> bool:
        """Whether the engine has the image."""
        del command
        try:
            self._engine.images.get(image)
        except ImageNotFound:
            return False
        return True

    def sweep(self) -> int:
        """Remove the containers and networks that carry the label of this state."""
        mine = {"label": f"{LABEL}={self._mark}"}
        containers = self._engine.containers.list(all=True, filters=mine)
        for container in containers:
            with contextlib.suppress(NotFound):
                container.remove(force=True, v=True)
        for network in self._engine.networks.list(filters=mine):
            with contextlib.suppress(NotFound):
                network.remove()
        return len(containers)


class ContainerGroup:
    """Hosts `algo-1`, `algo-2`, ... on a network of their own."""

    interface = "eth0"

    def __init__(self, engine: Engine, network: Engine, hosts: int, mark: str, listener: Listener | None) -> None:
        self.hosts: Sequence[str] = [f"algo-{number}" for number in range(1, hosts + 1)]
        self._engine, self._network, self._mark, self._listener = engine, network, mark, listener

    def start(self, spec: Spec) -> "ContainerInstance":
        """Create and start a container; PlatformError when the image is not there or it cannot be started."""
        environ = dict(spec.environ)
        if spec.serves and spec.port_variable != BIND_TO_PORT:
            environ[spec.port_variable] = str(DEFAULT_PORT)
        if self._listener is not None and "AWS_ENDPOINT_URL" in environ:
            environ["AWS_ENDPOINT_URL"] = self._listener.address
        container = None
        try:
            container = self._engine.containers.create(
                spec.image,
                command=list(spec.arguments) or None,
                entrypoint=list(spec.entrypoint) or None,
                name=f"{spec.name[:100]}-{secrets.token_hex(4)}",
                hostname=spec.host,
                environment=environ,
                labels={LABEL: self._mark},
                network=self._network.name,
                networking_config={self._network.name: self._engine.api.create_endpoint_config(aliases=[spec.host])},
                volumes=_mounts(spec),
                **_limits(spec),
            )
            container.start()
            container.reload()
        except ImageNotFound as error:
            raise PlatformError(
                f"The engine has no image {spec.image!r}. Build it, or tag one: docker tag twofold:cpu {spec.image}"
            ) from error
        except APIError as error:
            if container is not None:
                container.remove(force=True, v=True)
            raise PlatformError(f"The engine does not start {spec.image!r}: {error.explanation}.") from error
        host = container.attrs["NetworkSettings"]["Networks"][self._network.name]["IPAddress"]
        return ContainerInstance(container, host, spec)

    def close(self) -> None:
        """Take the network away."""
        if self._listener is not None:
            self._listener.close()
        with contextlib.suppress(NotFound):
            self._network.remove()


class ContainerInstance:
    """A container that was started."""

    def __init__(self, container: Engine, host: str, spec: Spec) -> None:
        # The address of the container itself: a port cannot be published from a network without a way out.
        self.host, self.port = host, DEFAULT_PORT if spec.serves else 0
        self._container, self._spec = container, spec
        self._code: int | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def poll(self) -> int | None:
        """Exit code, or None while it runs."""
        return self._code

    def signal(self, number: int) -> None:
        """To its first process; SIGKILL takes all of them."""
        # Ended between the question and the signal.
        with contextlib.suppress(APIError):
            self._container.kill(signal=number)

    def close(self) -> None:
        """Kill it, read its output to the end, and take it away."""
        self.signal(9)
        self._reader.join(timeout=30)
        with contextlib.suppress(NotFound):
            self._container.remove(force=True, v=True)

    def _read(self) -> None:
        rest = b""
        # Removed by somebody else: then it has ended, too.
        with contextlib.suppress(NotFound):
            for piece in self._container.logs(stream=True, follow=True):
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    self._spec.on_line(line.decode("utf-8", errors="replace").rstrip("\r"))
            if rest:
                self._spec.on_line(rest.decode("utf-8", errors="replace"))
            self._code = int(self._container.wait()["StatusCode"])
            return
        self._code = 137


def _mounts(spec: Spec) -> dict[str, dict[str, str]]:
    """The tree of a job, or the models of a container that serves, which it must not write."""
    if spec.serves and spec.place == str(DEFAULT_BASE_DIR):
        folders = {spec.base / name: DEFAULT_BASE_DIR / name for name in ("model", "models")}
        return {str(mine): {"bind": str(its), "mode": "ro"} for mine, its in folders.items() if mine.is_dir()}
    return {str(spec.base): {"bind": spec.place, "mode": "rw"}}


def _limits(spec: Spec) -> dict[str, object]:
    if spec.memory_mb is not None:
        return {
            "mem_limit": f"{spec.memory_mb}m",
            "nano_cpus": SERVERLESS_CPUS,
            "read_only": True,
            "tmpfs": {"/tmp": "size=512m,mode=1777"},  # noqa: S108 - in the container
            "shm_size": 1,
            "user": NOBODY,
        }
    # As root, as on the platform, unless we could not remove then what it has written.
    if os.getuid() != 0:
        return {"user": f"{os.getuid()}:{os.getgid()}"}
    return {"user": "0:0"} if spec.root else {}
