"""The head of a request, to the empty line: parsed by httptools (llhttp), then checked by what HTTP/1.1 demands.

Source: RFC 9112. What two servers could understand in two ways is refused, since that is how requests are smuggled: a
Content-Length beside a Transfer-Encoding, either of them twice, any coding but `chunked`, a line that ends in a bare
LF, a header that goes on in the next line.
"""

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes

import httptools

from ...errors import ProtocolError

MAX_HEAD = 32 << 10
"""Bytes of a head, and so of everything in it."""
MAX_HEADERS = 100
MAX_TARGET = 8 << 10
"""Bytes of the address in the first line."""

_VERSIONS = frozenset({"1.0", "1.1"})


@dataclass(frozen=True, slots=True)
class Head:
    """What a request says before its body. Names of headers are in small letters, values as latin-1."""

    method: str
    """`GET`, `POST` and so on."""
    target: str
    """Address as it was sent."""
    path: str
    """Its path without the query, percent signs decoded to latin-1, as WSGI has it."""
    query: str
    """What follows the question mark, as it was sent."""
    version: str
    """`1.0` or `1.1`."""
    headers: tuple[tuple[str, str], ...]
    """All headers in order."""
    length: int
    """Bytes of the body; 0 without one, and while it is not known because it comes in chunks."""
    has_length: bool
    """Whether a Content-Length was sent."""
    chunked: bool
    """Whether the body comes in chunks."""
    keep_alive: bool
    """Whether the connection may serve another request after this one."""
    expects_continue: bool
    """Whether the client waits for `100 Continue` before it sends the body."""
    content_type: str
    """Content-Type; empty without one."""
    accept: str
    """Accept; empty without one."""
    custom_attributes: str
    """X-Amzn-SageMaker-Custom-Attributes, which the answer repeats; empty without one."""

    def get(self, name: str) -> str:
        """Value of a header by its name in small letters; several are joined by commas; empty without one."""
        return ", ".join(value for key, value in self.headers if key == name)


class _Collector:
    """What httptools calls while it parses."""

    def __init__(self) -> None:
        self.target = b""
        self.headers: list[tuple[str, str]] = []
        self.complete = False

    def on_url(self, part: bytes) -> None:
        self.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self.complete = True


@lru_cache(maxsize=1024)
def parse_head(data: bytes) -> Head:
    """Parse a head that ends in an empty line. Cached: the requests of one client mostly have the very same one.

    Raises:
        ProtocolError: it is not HTTP/1.0 or 1.1, or two servers could understand it in two ways.
    """
    collector = _Collector()
    parser = httptools.HttpRequestParser(collector)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        # Another protocol was offered. The answer stays in this one, as RFC 9110 allows.
        pass
    except httptools.HttpParserError as error:
        raise ProtocolError(f"The request is no HTTP/1.1: {error}. Correct the client.") from error
    version = parser.get_http_version()
    if version not in _VERSIONS:
        raise ProtocolError(f"The request is HTTP/{version}, expected HTTP/1.1. Correct the client.", 505)
    method = parser.get_method().decode("ascii")
    if not collector.complete or method == "CONNECT":
        raise ProtocolError(f"The request has the method {method}, expected GET or POST. Correct the client.")
    return _checked(method, version, collector)


def _checked(method: str, version: str, collector: _Collector) -> Head:
    """Check what the parser leaves to servers."""
    headers = collector.headers
    if len(headers) > MAX_HEADERS:
        raise ProtocolError(f"The request has {len(headers)} headers, expected at most {MAX_HEADERS}. Send fewer.", 431)
    if len(collector.target) > MAX_TARGET:
        raise ProtocolError(
            f"The address has {len(collector.target)} bytes, expected at most {MAX_TARGET}. Shorten it.", 414
        )
    first: dict[str, str] = {}
    for name, value in headers:
        if name in first and name in {"host", "content-length", "transfer-encoding"}:
            raise ProtocolError(f"The header {name} is there twice, expected it once. Correct the client.")
        first.setdefault(name, value)
    if version == "1.1" and "host" not in first:
        raise ProtocolError("The header Host is missing. Correct the client: HTTP/1.1 demands it.")
    coding = first.get("transfer-encoding")
    if coding is not None and (coding.strip().lower() != "chunked" or version == "1.0"):
        raise ProtocolError(
            f"Transfer-Encoding is {coding[:40]!r} in HTTP/{version}, expected chunked in HTTP/1.1, or a "
            f"Content-Length. Correct the client.",
            501,
        )
    expect = first.get("expect")
    if expect is not None and expect.strip().lower() != "100-continue":
        raise ProtocolError(f"Expect is {expect[:40]!r}, expected 100-continue. Leave the header out.", 417)
    target = collector.target.decode("latin-1")
    path, query = _split(collector.target)
    return Head(
        method=method,
        target=target,
        path=path,
        query=query,
        version=version,
        headers=tuple(headers),
        length=int(first.get("content-length", 0)),
        has_length="content-length" in first,
        chunked=coding is not None,
        keep_alive=_keeps(version, headers),
        expects_continue=expect is not None and version == "1.1",
        content_type=first.get("content-type", ""),
        accept=", ".join(value for name, value in headers if name == "accept"),
        custom_attributes=first.get("x-amzn-sagemaker-custom-attributes", ""),
    )


def _keeps(version: str, headers: list[tuple[str, str]]) -> bool:
    """Whether the client wants to go on with its connection."""
    words = {word.strip().lower() for name, value in headers if name == "connection" for word in value.split(",")}
    return "close" not in words and (version == "1.1" or "keep-alive" in words)


def _split(target: bytes) -> tuple[str, str]:
    """Path and query of an address, which may be a whole URL as proxies send it."""
    if target == b"*":
        return "*", ""
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserError as error:
        raise ProtocolError(f"The address {target[:80]!r} is none. Correct the URL.") from error
    path = unquote_to_bytes(url.path or b"/").decode("latin-1")
    return path, (url.query or b"").decode("latin-1")
