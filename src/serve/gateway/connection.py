"""One client: its socket, what it has sent, what it has not yet taken."""

import math
import socket
from typing import Protocol

from .intake import Intake, Request


class Channel(Protocol):
    """What a connection has turned into that speaks HTTP no more."""

    def feed(self, data: bytes) -> None:
        """Take what the client has sent."""
        ...

    def tick(self, now: float) -> None:
        """Do what is due; called about once a second."""
        ...

    def drain(self) -> None:
        """Come to an end: the loop is to stop."""
        ...

    def ended(self) -> None:
        """Note that the connection is closed."""
        ...


class Connection:
    """State of a connection; only the loop that owns it touches it."""

    __slots__ = (
        "address",
        "channel",
        "closing",
        "continued",
        "deadline",
        "ended",
        "events",
        "exchange",
        "fd",
        "intake",
        "lingering",
        "out",
        "sock",
        "started",
    )

    def __init__(self, sock: socket.socket, address: str, intake: Intake) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.address = address
        self.intake = intake
        self.out = bytearray()
        """Bytes that the socket did not take yet."""
        self.exchange: Exchange | None = None
        """The request that is being answered."""
        self.channel: Channel | None = None
        """What takes all that comes, once the connection has left HTTP."""
        self.events = 0
        """What epoll watches."""
        self.deadline = math.inf
        """When it is given up, by the monotonic clock."""
        self.started = 0.0
        """When the first byte of a request came that is not whole yet."""
        self.continued = False
        """Whether the client was told to go on with its body."""
        self.closing = False
        """Whether it is closed once `out` is empty."""
        self.ended = False
        """Whether the client sends no more."""
        self.lingering = False
        """Whether the answer is out and the rest of what the client sends is thrown away."""

    @property
    def idle(self) -> bool:
        """Whether nothing of a request or an answer is here; what is about to begin has no deadline."""
        nothing = self.exchange is None and self.channel is None and self.intake.waiting and not self.out
        return nothing and not (self.closing or self.ended or self.lingering or math.isinf(self.deadline))

    @property
    def halfway(self) -> bool:
        """Whether a request has begun that is not whole yet."""
        return self.exchange is None and not (self.intake.waiting or self.out or self.closing)


class Exchange:
    """A request and, in the end, its answer."""

    __slots__ = ("arrived", "connection", "done", "request", "rows", "seconds", "sent", "started", "status")

    def __init__(self, connection: Connection, request: Request, arrived: float) -> None:
        self.connection = connection
        self.request = request
        self.arrived = arrived
        """When it was whole, by the monotonic clock in seconds."""
        self.started = False
        """Whether a part of its answer is out."""
        self.done = False
        """Whether its answer is out, or its client gone."""
        self.status = 0
        """Status of its answer, once a part of that is out; 499 for a client that went away before."""
        self.sent = 0
        """Bytes of its answer."""
        self.rows = 0
        """Rows that the model answered."""
        self.seconds = (0.0, 0.0, 0.0, 0.0)
        """Time in the queue, in decoding, in the model and in encoding, as far as it came through them."""

    @property
    def gone(self) -> bool:
        """Whether nobody waits for the answer."""
        return self.done or self.connection.ended
