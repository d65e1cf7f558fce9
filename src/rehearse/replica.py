"""One copy of a model: a container, several in a row, or one that holds many models.

one      request -> container -> answer
serial   request -> first -> its answer is the next one's request -> ... -> last -> answer
direct   request -> the container that it names -> answer
many     request -> the container, which has been told to load the model that it names -> answer
"""

import http.client
import time
from collections.abc import Mapping, Sequence

from ..errors import ApiError
from .models import Models
from .serving import Answer, Server

PATH = "/invocations"


class Replica:
    """Containers that together answer what a model is asked."""

    def __init__(self, servers: Sequence[Server], *, direct: Sequence[str] = (), models: Models | None = None) -> None:
        """Take the containers, in order.

        Args:
            servers: at least one.
            direct: their names, where requests choose one of them.
            models: those of a multi-model container.
        """
        self.outstanding = 0
        """Requests that wait for its answer; counted by whoever sends them."""
        self._servers, self._direct, self._models = list(servers), list(direct), models

    @property
    def healthy(self) -> bool:
        """Whether all its containers are."""
        return all(server.healthy for server in self._servers)

    @property
    def failure(self) -> str | None:
        """Why one of its containers was given up, or None."""
        return next((server.failure for server in self._servers if server.failure), None)

    @property
    def used(self) -> float:
        """When it was last asked."""
        return max(server.used for server in self._servers)

    def ask(
        self, body: bytes, headers: Mapping[str, str], timeout_s: float, *, model: str | None, container: str | None
    ) -> Answer:
        """Have a request answered; `timeout_s` is for all containers together.

        Raises:
            ApiError: the model or the container is missing, too many, or not there.
        """
        if self._models is not None:
            if model is None:
                raise ApiError("The endpoint holds many models. Name one by TargetModel.", code="ValidationError")
            return self._models.ask(model, body, headers, timeout_s)
        if model is not None:
            raise ApiError("TargetModel is for multi-model endpoints.", code="ValidationError")
        if self._direct or container is not None:
            return self._chosen(container).ask("POST", PATH, body, headers, timeout_s)
        return self._chain(body, headers, timeout_s)

    def send(
        self, body: bytes, headers: Mapping[str, str], timeout_s: float, *, container: str | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send a request whose answer is read as it comes; OSError or HTTPException when there is none.

        Raises:
            ApiError: several containers in a row, or a multi-model one.
        """
        if self._models is not None or (len(self._servers) > 1 and not self._direct):
            raise ApiError("Streams of several containers or models are not rehearsed.", code="NotRehearsed")
        server = self._chosen(container) if self._direct or container is not None else self._servers[0]
        return server.send("POST", PATH, body, headers, timeout_s)

    def get(self, path: str, timeout_s: float) -> Answer:
        """What the first container answers to a GET."""
        return self._servers[0].ask("GET", path, b"", {}, timeout_s)

    def kill(self) -> None:
        """Kill its first container."""
        self._servers[0].kill()

    def close(self) -> None:
        """Stop all of them."""
        for server in self._servers:
            server.close()

    def _chain(self, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Answer:
        deadline, sent = time.monotonic() + timeout_s, dict(headers)
        for server in self._servers[:-1]:
            # Only the last one is asked for what the client accepts.
            present = {name: value for name, value in sent.items() if name != "Accept"}
            answer = server.ask("POST", PATH, body, present, max(0.01, deadline - time.monotonic()))
            if not 200 <= answer.status < 300:
                return answer
            body, sent["Content-Type"] = answer.body, answer.headers.get("content-type", "application/octet-stream")
        return self._servers[-1].ask("POST", PATH, body, sent, max(0.01, deadline - time.monotonic()))

    def _chosen(self, container: str | None) -> Server:
        if container not in self._direct:
            raise ApiError(
                f"TargetContainerHostname is {container!r}, expected one of {', '.join(self._direct) or 'none'}.",
                code="ValidationError",
            )
        return self._servers[self._direct.index(container)]
