"""A request and its answer, apart from HTTP; and whatever answers one whole request after the other."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import orjson


@dataclass(frozen=True, slots=True)
class Invocation:
    """One request to a model."""

    body: bytes
    content_type: str = ""
    """The header as it came; empty if there was none."""
    accept: str = ""
    """The header as it came; empty if there was none."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """All headers, by their names as they came."""
    session: Path | None = None
    """Folder of the session that it is part of."""

    def header(self, name: str) -> str:
        """Return one header, whatever its case; empty without it."""
        folded = name.lower()
        return next((value for key, value in self.headers.items() if key.lower() == folded), "")


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request."""

    body: bytes | Iterator[bytes]
    """All of it, or its parts as they come; an iterator has a `close` for a client that goes away."""
    content_type: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers besides Content-Type."""


class Service(Protocol):
    """A loaded model with all that leads from a request to its answer; safe to call from several threads."""

    def answer(self, invocation: Invocation) -> Reply:
        """Answer a request; a TwofoldError says by its status what is wrong with it."""
        ...


def refusal(code: int, message: str) -> Reply:
    """Build the answer to a request that is refused."""
    return Reply(orjson.dumps({"error": {"code": code, "message": message}}), "application/json", code)
