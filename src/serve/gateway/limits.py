"""How much and how long a client may."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a connection, times in seconds."""

    folder: Path
    """Where long bodies are kept while they come in."""
    body: int | None = None
    """Bytes of a request's body; None is unlimited."""
    head: float = 20.0
    """From the first byte of a request to the end of its head."""
    stall: float = 30.0
    """Between two pieces of a body, and for an answer that the client does not take."""
    whole: float = 60.0
    """From the first byte of a request to its last."""
    idle: float = 75.0
    """Until a connection without a request is closed; longer than the platform's proxy keeps one."""
    drain: float = 24.0
    """For requests in flight after the order to stop."""
    farewell: float = 2.0
    """For an idle connection after the order to stop: a request may be on its way."""
    ask: float = 30.0
    """Of silence on a WebSocket, until its client is asked for a sign of life."""
    silent: float = 90.0
    """Of silence on a WebSocket, until it is given up."""
    quiet: float = 1800.0
    """Without a message on a WebSocket that waits for one, until it is closed; the platform's own bound."""
    connections: int = 10_000
    """Connections at once; more wait in the kernel."""
