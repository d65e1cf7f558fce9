"""WebSocket (RFC 6455) in place of an answer: frames by wsproto in the loop, messages answered by a thread beside it.

                    loop                                  thread
    client ──> Channel.feed ──> wsproto ──> Incoming ──> talk
    client <── Loop.part <──── wsproto <──── Outlet <──────┘

One thread a connection, of which a worker has a bound. Who reads slowly makes `talk` wait; where `talk` is slow, the
client's messages wait in the kernel.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from typing import TypeAlias

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import RemoteProtocolError

from ...errors import Overloaded, ProtocolError, RequestError
from .connection import Exchange
from .head import Head
from .incoming import Incoming, Message
from .intake import SPOOL
from .limits import Limits
from .loop import Loop
from .outlet import ClientGone, Outlet

SWITCHED = 101
"""Status of a request that became a WebSocket."""

MOST = 64
"""Connections of a worker; each has a thread."""
FAREWELL = 5.0
"""Seconds after the order to stop for what is being answered."""
_HANDSHAKE = frozenset({"connection", "upgrade", "sec-websocket-key", "sec-websocket-version"})

Talk: TypeAlias = Callable[[Incoming, Head], Iterator[Message]]
"""Answers the messages of one client with messages; a generator, closed when the client goes."""

log = logging.getLogger(__name__)


class Farewell(Exception):
    """Raised by a `Talk`: the connection is to be closed with a code of RFC 6455 and a reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class WebSockets:
    """All of a worker's."""

    def __init__(self, loop: Loop, limits: Limits, talk: Talk) -> None:
        self._loop = loop
        self._limits = limits
        self._talk = talk
        self._open = 0

    def open(self, exchange: Exchange, head: Head) -> None:
        """Make a request a WebSocket; for the loop's thread.

        Raises:
            RequestError: it does not ask for one as RFC 6455 has it.
            Overloaded: there are too many.
        """
        frames = WSConnection(ConnectionType.SERVER)
        _check(frames, head)
        if self._open >= MOST:
            raise Overloaded(f"{MOST} WebSockets are open in this worker, which is the limit. Try again later.", 1)
        self._open += 1
        channel = Channel(self._loop, exchange, self._limits, frames)
        self._loop.part(exchange, frames.send(AcceptConnection()))
        self._loop.switch(exchange, channel)
        threading.Thread(target=self._run, args=(channel, head), name="websocket", daemon=True).start()

    def _run(self, channel: "Channel", head: Head) -> None:
        code, reason = int(CloseReason.INTERNAL_ERROR), "The server failed. Look in its log."
        parts = self._talk(channel.incoming, head)
        try:
            for part in parts:
                channel.outlet.send(part)
            code, reason = int(CloseReason.NORMAL_CLOSURE), ""
        except ClientGone:
            log.debug("The client of a WebSocket has gone")
        except Farewell as farewell:
            code, reason = farewell.code, farewell.reason
        finally:
            self._loop.post(lambda: self._finish(channel, code, reason))
            close = getattr(parts, "close", None)
            if close:
                close()

    def _finish(self, channel: "Channel", code: int, reason: str) -> None:
        self._open -= 1
        channel.finish(code, reason)


class Channel:
    """One connection after its handshake; what the loop calls when something happens to it."""

    def __init__(self, loop: Loop, exchange: Exchange, limits: Limits, frames: WSConnection) -> None:
        self._loop = loop
        self._exchange = exchange
        self._limits = limits
        self._frames = frames
        self._longest = limits.body or SPOOL
        self._pieces: list[Message] = []
        self._size = 0
        self._heard = self._asked = self._active = loop.now
        self._ends: float | None = None
        self.incoming = Incoming(self._resume)
        self.outlet: Outlet[Message] = Outlet(loop, exchange, self._message)

    def feed(self, data: bytes) -> None:
        """Take what the client has sent."""
        self._heard = self._loop.now
        self._frames.receive_data(data)
        for event in self._frames.events():
            if isinstance(event, Ping):
                self._loop.part(self._exchange, self._frames.send(event.response()))
            elif isinstance(event, TextMessage):
                self._collect(event.data, whole=event.message_finished)
            elif isinstance(event, BytesMessage):
                self._collect(bytes(event.data), whole=event.message_finished)
            elif isinstance(event, CloseConnection):
                # The client's own, or what it is told of frames that are none. Nobody waits for answers any more.
                self.incoming.end(forget=True)
                self.finish(event.code, event.reason or "")
            if self._exchange.done:
                return
        if self.incoming.full:
            self._loop.listen(self._exchange, wanted=False)

    def tick(self, now: float) -> None:
        """Ask a client that is silent whether it is there; end what has gone on for too long."""
        limits = self._limits
        if self._exchange.done:
            return
        if self._ends is not None and now >= self._ends:
            self.finish(CloseReason.GOING_AWAY, "The server stops.")
        elif self.incoming.full:
            # Nothing is read, so that nothing can be heard.
            self._heard = now
        elif now - self._heard >= limits.silent:
            self._loop.abort(self._exchange)
        elif self.incoming.hungry and now - self._active >= limits.quiet:
            self.finish(CloseReason.GOING_AWAY, f"No message came for {limits.quiet:g} s.")
        elif now - max(self._heard, self._asked) >= limits.ask:
            self._asked = now
            self._loop.part(self._exchange, self._frames.send(Ping()))

    def drain(self) -> None:
        """Take no more messages, answer those that are there, then close: the server stops."""
        if self._ends is None:
            self._ends = self._loop.now + FAREWELL
            self.incoming.end()

    def ended(self) -> None:
        """Note that the connection is closed."""
        self.incoming.end(forget=True)

    def finish(self, code: int, reason: str) -> None:
        """Close the connection, unless that was done."""
        if self._exchange.done:
            return
        if self._ends is not None and code == CloseReason.NORMAL_CLOSURE:
            code, reason = CloseReason.GOING_AWAY, "The server stops."
        self._loop.answer(self._exchange, self._frames.send(CloseConnection(code, reason)), keep_alive=False)
        self.ended()

    def _collect(self, piece: Message, *, whole: bool) -> None:
        """Put a message together; text counts as its characters."""
        self._active = self._loop.now
        self._size += len(piece)
        if self._size > self._longest:
            self.finish(CloseReason.MESSAGE_TOO_BIG, f"A message may have at most {self._longest} bytes. Send less.")
            return
        if piece or whole:
            self._pieces.append(piece)
        if not whole:
            return
        first = self._pieces[0]
        message = first[:0].join(self._pieces) if len(self._pieces) > 1 else first  # type: ignore[arg-type]  # all alike
        self._pieces, self._size = [], 0
        if self._ends is None:
            self.incoming.put(message)

    def _message(self, message: Message) -> bytes:
        self._active = self._loop.now
        event = TextMessage(message) if isinstance(message, str) else BytesMessage(message)
        return self._frames.send(event)

    def _resume(self) -> None:
        self._loop.post(lambda: self._loop.listen(self._exchange, wanted=True))


def _check(frames: WSConnection, head: Head) -> None:
    """Let wsproto look at the handshake.

    Raises:
        RequestError: it is none.
    """
    headers = [(name.encode(), value.encode("latin-1")) for name, value in head.headers if name in _HANDSHAKE]
    try:
        # It needs a name for its own checks; which one does not matter here.
        frames.initiate_upgrade_connection([(b"Host", b"here"), *headers], "/")
    except RemoteProtocolError as error:
        raise _refused(head, str(error), getattr(error.event_hint, "status_code", 400)) from error
    if head.method != "GET" or head.version != "1.1":
        raise _refused(head, f"{head.method} in HTTP/{head.version}", 400)


def _refused(head: Head, found: str, status: int) -> RequestError:
    return ProtocolError(
        f"{head.path} got no handshake of a WebSocket: {found}. Expected GET with the headers of RFC 6455, version 13. "
        f"Use a WebSocket client.",
        status,
    )
