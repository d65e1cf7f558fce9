"""HTTP as the platform speaks it to a container; what goes wrong on the way is an answer too."""

import http.client
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from .engine import Container
from .verdict import Failed

PIECE = 64 * 1024
PING_LIMIT_S = 2.0
"""Within so many seconds `/ping` has to be answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back."""

    status: int = 0
    """0: no answer came."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """By lower-case names."""
    body: bytes = b""
    seconds: float = 0.0
    """From the first byte sent to the last one received."""
    ended: float = 0.0
    """When that was, on the monotonic clock."""
    error: str = ""
    """Why no answer came."""

    @property
    def well(self) -> bool:
        """Whether it is a 2xx."""
        return self.status // 100 == 2

    def document(self) -> dict[str, Any]:
        """The body as a JSON object; Failed when it is none."""
        try:
            told = json.loads(self.body)
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise Failed(f"{self} with {self.body[:60]!r}", "Answer a JSON object.")
        return told

    def __str__(self) -> str:
        text = str(self.status) if self.status else f"no answer ({self.error})"
        return f"{text} after {self.seconds:.2f} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A container that serves."""

    container: Container
    port: int
    """Port of 127.0.0.1."""

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        seconds: float = 70.0,
        chunked: bool = False,
    ) -> Answer:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            return exchange(connection, method, path, body, headers, chunked=chunked)
        finally:
            connection.close()

    def ping(self) -> Answer:
        """Ask `/ping` as the platform does."""
        return self.ask("GET", "/ping", headers={"User-Agent": "Go-http-client/1.1"}, seconds=PING_LIMIT_S)

    def ask_together(self, number: int, body: bytes, headers: Mapping[str, str]) -> list[Answer]:
        """Send the same request to `/invocations` so many times at once."""
        with ThreadPoolExecutor(number) as pool:
            asked = [pool.submit(self.ask, "POST", "/invocations", body, headers) for _ in range(number)]
            return [future.result() for future in asked]


def exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    chunked: bool = False,
) -> Answer:
    """Send one request on a connection that may have been used before, and read its answer."""
    named = dict(headers or {}) | ({"Transfer-Encoding": "chunked"} if chunked else {})
    began = time.monotonic()
    try:
        try:
            sent = _pieces(body or b"") if chunked else body
            connection.request(method, path, body=sent, headers=named, encode_chunked=chunked)
        except (BrokenPipeError, ConnectionResetError):
            # A server may refuse a body before it has read all of it: then its answer is there.
            pass
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException) as error:
        ended = time.monotonic()
        return Answer(seconds=ended - began, ended=ended, error=str(error) or type(error).__name__)
    ended = time.monotonic()
    found = {name.lower(): value for name, value in answer.getheaders()}
    return Answer(status=answer.status, headers=found, body=content, seconds=ended - began, ended=ended)


def tally(answers: Sequence[Answer]) -> str:
    """How many answers had which status."""
    statuses = [str(answer.status) if answer.status else f"no answer ({answer.error})" for answer in answers]
    return ", ".join(f"{statuses.count(status)} x {status}" for status in sorted(set(statuses)))


def _pieces(body: bytes) -> Iterator[bytes]:
    return (body[first : first + PIECE] for first in range(0, len(body), PIECE))
