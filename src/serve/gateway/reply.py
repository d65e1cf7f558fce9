"""Answers as bytes."""

import time
from collections.abc import Iterable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from ...errors import Overloaded, TwofoldError
from ..replies import error_body
from .head import Head

CLIENT_GONE = 499
"""Status of a request whose client did not wait for its answer, as nginx counts them."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_REASONS = {status.value: status.phrase for status in HTTPStatus}
JSON = "application/json"
CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
"""Header of a request that its answer repeats."""
_BODILESS = frozenset({204, 304})


def full(
    head: Head | None,
    status: int,
    body: bytes,
    content_type: str = "",
    *,
    keep_alive: bool,
    more: Iterable[tuple[str, str]] = (),
) -> bytes:
    """Write a whole answer to a request; to HEAD without the body, but with its length."""
    start = opening(status, content_type, len(body), _connection(head, keep_alive=keep_alive))
    lines = "".join(f"{name}: {value}\r\n" for name, value in more).encode("latin-1")
    if head is not None and head.method == "HEAD":
        body = b""
    return b"%b%b%b\r\n%b" % (start, _date(int(time.time())), lines, body)


def start_of(head: Head, status: str, headers: Iterable[tuple[str, str]], *, chunked: bool, keep_alive: bool) -> bytes:
    """Write the head of an answer of the application's, whose body follows."""
    lines = [f"HTTP/1.1 {status}"]
    lines += [f"{name}: {value}" for name, value in headers if name.lower() not in {"connection", "transfer-encoding"}]
    if chunked:
        lines.append("Transfer-Encoding: chunked")
    connection = _connection(head, keep_alive=keep_alive)
    if connection:
        lines.append(f"Connection: {connection}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n" + _date(int(time.time())) + b"\r\n"


def refusal(head: Head | None, error: TwofoldError, *, keep_alive: bool) -> bytes:
    """Write the answer to a request that is refused: JSON with the status and what to change."""
    more = [("Retry-After", str(error.retry_after))] if isinstance(error, Overloaded) else []
    if head is not None and head.custom_attributes:
        more.append((CUSTOM_ATTRIBUTES, head.custom_attributes))
    return full(head, error.status, error_body(error.status, str(error)), JSON, keep_alive=keep_alive, more=more)


@lru_cache(maxsize=512)
def opening(status: int, content_type: str, length: int, connection: str) -> bytes:
    """Write the lines that many answers have in common."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}"]
    if content_type:
        lines.append(f"Content-Type: {content_type}")
    if status not in _BODILESS:
        lines.append(f"Content-Length: {length}")
    if connection:
        lines.append(f"Connection: {connection}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n"


def _connection(head: Head | None, *, keep_alive: bool) -> str:
    """What to say about the connection: nothing where HTTP/1.1 implies it."""
    if not keep_alive:
        return "close"
    return "keep-alive" if head is not None and head.version == "1.0" else ""


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return b"Date: %b\r\n" % formatdate(second, usegmt=True).encode("ascii")
