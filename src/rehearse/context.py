"""What every part of the rehearsal works with: the store, the backend, clients of our own address, and what runs."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from ..errors import ApiError
from .aws import SECRET, Clients
from .backend import Backend
from .settings import Settings
from .store import Document, Store
from .weather import Weather

Cause = Literal["stopped", "runtime", "wait", "reclaimed", "rehearsal"]
"""Why something that runs is told to end."""


class Run(Protocol):
    """Something that runs in a thread until it ends or is told to."""

    thread: threading.Thread

    def tell(self, cause: Cause) -> bool:
        """Have it end for a cause."""


@dataclass(slots=True, kw_only=True)
class Context:
    """One rehearsal."""

    folder: Path
    """Folder of what runs: trees, archives."""
    homes: Path
    """Folders of notebook instances, which outlive a rehearsal."""
    store: Store
    """Resources."""
    backend: Backend
    """What runs instances."""
    clients: Clients
    """S3, logs, metrics, notices."""
    address: str
    """Where this rehearsal answers, as its own clients see it."""
    region: str
    """Region of ARNs and clients."""
    settings: Settings = field(default_factory=Settings)
    """Times."""
    weather: Weather = field(default_factory=Weather)
    """What is wrong with all calls at the moment."""
    _runs: dict[tuple[str, str], Run] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def environ(self, *, isolated: bool = False) -> dict[str, str]:
        """Variables of the platform: region, and, where there is a network, our address with credentials for it."""
        if isolated:
            return {"AWS_REGION": self.region}
        return {
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL": self.address,
            **{name.upper(): value for name, value in SECRET.items()},
        }

    def start(self, kind: str, name: str, run: Run) -> None:
        """Let something run; it is found by `run` until it has ended."""
        with self._lock:
            self._runs[kind, name] = run
        run.thread.start()

    def begin(self, kind: str, job: Document, make: Callable[[str], Run]) -> Document:
        """Keep a job and let it run; one whose run cannot be made is not kept.

        Raises:
            ApiError: there is one of that name, or its run cannot be made.
        """
        name = job[f"{kind}Name"]
        self.store.create(kind, job)
        try:
            run = make(name)
        except ApiError:
            self.store.delete(kind, name)
            raise
        self.start(kind, name, run)
        return job

    def run(self, kind: str, name: str) -> Run | None:
        """What runs under that name, or None."""
        with self._lock:
            return self._runs.get((kind, name))

    def ended(self, run: Run) -> None:
        """Forget what has ended."""
        with self._lock:
            self._runs = {key: other for key, other in self._runs.items() if other is not run}

    def close(self) -> None:
        """Have everything end and wait for it."""
        while True:
            with self._lock:
                runs = list(self._runs.values())
            if not runs:
                return
            for run in runs:
                run.tell("rehearsal")
            for run in runs:
                run.thread.join()
