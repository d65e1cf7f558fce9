"""What runs an instance: a container of a Docker engine, or a process where none answers."""

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..contract.paths import DEFAULT_BASE_DIR

TRAINING_GRACE_S = 120.0
"""Between SIGTERM and SIGKILL of a training job."""
SERVING_GRACE_S = 30.0
"""The same of a container that serves."""
BIND_TO_PORT = "SAGEMAKER_BIND_TO_PORT"
LOOK_S = 0.05
"""How often the end of an instance is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """An instance that is to run."""

    name: str
    """Name that no other instance of this rehearsal has."""
    image: str
    """Image as the request names it."""
    base: Path
    """Folder of this machine that the instance sees as `place`."""
    place: str = str(DEFAULT_BASE_DIR)
    """Where it sees that folder."""
    host: str = "localhost"
    """Name by which its peers find it."""
    entrypoint: Sequence[str] = ()
    """Takes the place of the image's entrypoint."""
    arguments: Sequence[str] = ()
    """Takes the place of the image's command."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """Variables of the request and of the platform."""
    on_line: Callable[[str], None] = print
    """Is given every line of output, in a thread of the backend."""
    serves: bool = False
    """Whether it answers on a port."""
    port_variable: str = BIND_TO_PORT
    """Variable that tells it the port, where that is not 8080."""
    root: bool = False
    """Whether it runs as root, whatever user the image names."""
    memory_mb: int | None = None
    """Serverless: memory; the root is read-only then and the user has no rights."""


class Instance(Protocol):
    """An instance that was started."""

    host: str
    """Address that it answers on, as seen from here."""
    port: int
    """Port that it answers on; 0 when it does not serve."""

    def poll(self) -> int | None:
        """Exit code as a shell gives it (137 is SIGKILL), or None while it runs."""

    def signal(self, number: int) -> None:
        """Send a signal to its first process; nothing when it has ended."""

    def close(self) -> None:
        """Kill what is left of it, read its output to the end and take it away."""


class Group(Protocol):
    """The network of a job."""

    hosts: Sequence[str]
    """Names of its hosts."""
    interface: str
    """Network interface by which they find each other."""

    def start(self, spec: Spec) -> Instance:
        """Start an instance in this network; PlatformError when it cannot be started."""

    def close(self) -> None:
        """Take the network away."""


class Backend(Protocol):
    """What runs instances."""

    name: str
    """`docker` or `process`."""
    stands_in: str
    """What is said at the head of every log; empty when the named image itself runs."""

    def group(self, name: str, hosts: int, *, isolated: bool = False) -> Group:
        """Make the network of a job; `isolated` leaves it no way out."""

    def has(self, command: str, image: str) -> bool:
        """Whether it has a command of ours, or the image that it is in."""

    def sweep(self) -> int:
        """Kill and remove what a dead rehearsal on the same state has left; how many."""


def end(instances: Sequence[Instance], grace_s: float, number: int = signal.SIGTERM) -> None:
    """Tell instances to stop, wait for them, and kill those that have not gone in time."""
    for instance in instances:
        instance.signal(number)
    deadline = time.monotonic() + grace_s
    while any(instance.poll() is None for instance in instances) and time.monotonic() < deadline:
        time.sleep(LOOK_S)
    for instance in instances:
        if instance.poll() is None:
            instance.signal(signal.SIGKILL)
    while any(instance.poll() is None for instance in instances):
        time.sleep(LOOK_S)
