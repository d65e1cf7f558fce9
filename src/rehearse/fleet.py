"""The instances of one variant of an endpoint, and which of them gets a request."""

import contextlib
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import ApiError
from . import model_files
from .backend import Spec
from .context import Context
from .logs import Stream
from .models import Models
from .replica import Replica
from .serving import Server
from .store import Document

SERVERLESS_STARTUP_S = 180.0
"""A serverless container must answer `/ping` within 3 minutes."""
DRAIN_S = 60.0
"""Longest wait for requests under way when a fleet goes: no request may take longer."""


class Fleet:
    """Instances of a variant, all of the same model."""

    def __init__(self, context: Context, endpoint: str, variant: Document, folder: Path) -> None:
        self.variant = variant
        self.serverless: Document | None = variant.get("ServerlessConfig")
        self._context, self._endpoint, self._folder = context, endpoint, folder
        model = context.store.get("Model", variant["ModelName"])
        self._containers, self._direct = model_files.containers(context, model), model_files.direct(model)
        self._isolated = bool(model.get("EnableNetworkIsolation"))
        self._lock = threading.Lock()
        self._servers: list[Replica] = []
        self._streams: list[Stream] = []
        self._number = 0
        self._bases = model_files.lay(context, self._containers, folder)
        self._group = context.backend.group(f"endpoint-{folder.name}", 1, isolated=self._isolated)

    @property
    def image(self) -> str:
        """Image that the model names, the first of several."""
        return str(self._containers[0]["Image"])

    @property
    def count(self) -> int:
        """Instances that are healthy."""
        return sum(server.healthy for server in self._all())

    @property
    def failure(self) -> str | None:
        """Why an instance was given up, or None."""
        return next((server.failure for server in self._all() if server.failure), None)

    @property
    def stream(self) -> str:
        """Name of the newest log stream."""
        return f"{self.variant['VariantName']}/i-{self._folder.name}-{self._number}"

    def resize(self, count: int) -> None:
        """Start instances, or stop the newest once they have answered."""
        with self._lock:
            while len(self._servers) < count:
                self._servers.append(self._start())
            going, self._servers = self._servers[count:], self._servers[:count]
        _leave(going)

    def flush(self) -> None:
        """Send on what the containers have said; end serverless ones that nobody has asked for a while."""
        for stream in list(self._streams):
            stream.flush()
        if self.serverless is not None:
            with self._lock:
                idle = time.monotonic() - self._context.settings.idle_s
                going = [server for server in self._servers if not server.outstanding and server.used < idle]
                self._servers = [server for server in self._servers if server not in going]
            _leave(going)

    @contextlib.contextmanager
    def server(self) -> Iterator[Replica]:
        """The healthy instance with the fewest requests under way, in turn, while it answers one more.

        Raises:
            ApiError: there is none, or the serverless concurrency is used up.
        """
        chosen = self._free() if self.serverless is not None else self._least_busy()
        try:
            yield chosen
        finally:
            with self._lock:
                chosen.outstanding -= 1

    def kill(self) -> None:
        """Kill one container."""
        if servers := self._all():
            servers[0].kill()

    def close(self) -> None:
        """Let requests under way be answered, then stop everything."""
        self.resize(0)
        self._group.close()
        self.flush()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _all(self) -> list[Replica]:
        with self._lock:
            return list(self._servers)

    def _least_busy(self) -> Replica:
        with self._lock:
            healthy = [server for server in self._servers if server.healthy]
            if not healthy:
                raise ApiError(
                    f"No instance of variant {self.variant['VariantName']!r} is healthy.",
                    code="ServiceUnavailable",
                    status=503,
                )
            chosen = min(healthy, key=lambda server: (server.outstanding, server.used))
            chosen.outstanding += 1
            return chosen

    def _free(self) -> Replica:
        """A serverless container answers one request at a time; a new one is started for the next."""
        with self._lock:
            free = [server for server in self._servers if not server.outstanding and server.failure is None]
            if not free and len(self._servers) >= (self.serverless or {})["MaxConcurrency"]:
                raise ApiError(
                    f"MaxConcurrency of {len(self._servers)} is used up.", code="ServiceUnavailable", status=503
                )
            chosen = next((server for server in free if server.healthy), None) or (free[0] if free else self._start())
            if chosen not in self._servers:
                self._servers.append(chosen)
            chosen.outstanding += 1
        while not chosen.healthy and chosen.failure is None:
            time.sleep(0.02)
        return chosen

    def _start(self) -> Replica:
        self._number += 1
        settings = self._context.settings
        startup = SERVERLESS_STARTUP_S if self.serverless else settings.startup_s
        servers = [
            Server(
                self._group,
                self._spec(number),
                startup_s=self.variant.get("ContainerStartupHealthCheckTimeoutInSeconds", startup),
                health_s=settings.health_s,
                grace_s=settings.serving_grace_s,
            )
            for number in range(len(self._containers))
        ]
        first, models = self._containers[0], None
        if model_files.multi_model(first):
            cached = first.get("MultiModelConfig", {}).get("ModelCacheSetting") != "Disabled"
            models = Models(self._context, servers[0], first["ModelDataUrl"], cached=cached)
        names = [mine["ContainerHostname"] for mine in self._containers] if self._direct else ()
        return Replica(servers, direct=names, models=models)

    def _spec(self, number: int) -> Spec:
        """What one of its containers runs."""
        mine = self._containers[number]
        several = len(self._containers) > 1
        host = mine.get("ContainerHostname") or f"container-{number + 1}"
        stream = Stream(
            self._context.clients,
            f"/aws/sagemaker/Endpoints/{self._endpoint}",
            f"{self.stream}/{host}" if several else self.stream,
        )
        stream.line(self._context.backend.stands_in and f"{self._context.backend.stands_in} {mine['Image']}")
        self._streams.append(stream)
        return Spec(
            name=f"{self._folder.name}-{self._number}" + (f"-{number + 1}" if several else ""),
            image=mine["Image"],
            base=self._bases[number],
            arguments=["serve"],
            environ={
                **self._context.environ(isolated=self._isolated),
                **({"SAGEMAKER_MULTI_MODEL": "true"} if model_files.multi_model(mine) else {}),
                **mine.get("Environment", {}),
            },
            on_line=stream.line,
            serves=True,
            memory_mb=self.serverless["MemorySizeInMB"] if self.serverless else None,
        )


def _leave(servers: list[Replica]) -> None:
    deadline = time.monotonic() + DRAIN_S
    while any(server.outstanding for server in servers) and time.monotonic() < deadline:
        time.sleep(0.02)
    closers = [threading.Thread(target=server.close) for server in servers]
    for closer in closers:
        closer.start()
    for closer in closers:
        closer.join()
