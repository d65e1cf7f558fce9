"""The event loop of a worker: one thread that reads and writes all of its connections and waits for nothing else.

    listener ──> seats: this worker or another ──> Connection ──> Intake ──> Exchange ──> Handler.take
                                                       ^                                      │
                                                       └────────────── answer <───────────────┘

What a Handler collects it works off in `turn`, called as soon as no socket is readable: what came in the meantime is
its batch. Other threads reach the loop by `post` only.
"""

import math
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable

from ...errors import ProtocolError
from .connection import Channel, Connection, Exchange
from .door import Door
from .handler import Handler, Owner
from .intake import Intake, Request
from .limits import Limits
from .reply import CLIENT_GONE, CONTINUE, refusal
from .seats import Seats
from .waiting import FEW, Waiting

READ = 64 << 10
"""Bytes of one read; above 128 KB the allocator would ask the kernel for every buffer."""
_FRAMES = 8 << 10
"""Bytes of one read where they may be thousands of small frames, which others would have to wait for."""
_READ_AHEAD = 256 << 10
"""Bytes of further requests that are read while one is being answered."""
_LINGER = 3.0
"""Seconds to go on reading after an answer that ends a connection: a reset would take the answer with it."""
_PATIENCE = 4
"""Rounds of reading after which what was collected is worked off even though sockets are still readable."""
_IN = select.EPOLLIN
_OUT = select.EPOLLOUT


class Loop:
    """Serves connections with a handler until told to stop and all is answered."""

    def __init__(self, listeners: list[socket.socket], limits: Limits, seats: Seats) -> None:
        self._sources: dict[int, Callable[[], None]] = {}
        self._handler: Handler
        self._owner: Owner
        self._limits = limits
        self._seats = seats
        self._epoll = select.epoll()
        self._waiting = Waiting(self._epoll)
        self._connections: dict[int, Connection] = {}
        self._ready: deque[tuple[Connection, Request]] = deque()
        self._posts: deque[Callable[[], None]] = deque()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._door = Door(listeners, self._epoll, seats, self._adopt)
        self._ends = math.inf
        self._next_tick = 0.0
        self.now = time.monotonic()
        self.draining = False

    def run(self, handler: Handler, owner: Owner) -> None:
        """Serve; returns once the owner is to stop and the last answer is out."""
        self._handler, self._owner = handler, owner
        self._sources = {
            self._wake: self._posted,
            self._seats.fileno(): self._passed_on,
            owner.fileno(): self._signalled,
        }
        for fd in self._sources:
            self._epoll.register(fd, _IN)
        self._sources |= {listener.fileno(): self._door.answer for listener in self._door.listeners}
        self._seats.open(self.now)
        self._door.open()
        rounds = 0
        while not (self.draining and (not self._connections or self.now >= self._ends)):
            seconds = 0 if handler.pending or self._ready else 0.5 if not self.draining else 0.05
            events = self._waiting.wait(seconds, idle=handler.idle and len(self._connections) <= FEW)
            self.now = time.monotonic()
            for fd, mask in events:
                self._happened(fd, mask)
            while self._ready:
                self._begin(*self._ready.popleft())
            if handler.pending:
                rounds += 1
                # One connection has one request in flight: nothing can join it.
                if not events or handler.full or rounds >= _PATIENCE or len(self._connections) == 1:
                    rounds = 0
                    handler.turn()
            if self.now >= self._next_tick:
                self._next_tick = self.now + (0.05 if self.draining else 1.0)
                self._tick()
        for connection in list(self._connections.values()):
            self._drop(connection)
        self._epoll.close()

    def post(self, call: Callable[[], None]) -> None:
        """Have the loop call something soon; the one method for other threads."""
        self._posts.append(call)
        os.eventfd_write(self._wake, 1)

    def stop(self) -> None:
        """Accept nothing more, answer what is there, then end."""
        if self.draining:
            return
        self.draining = True
        self._ends = self.now + self._limits.drain
        self._seats.leave()
        self._door.close()
        for connection in self._connections.values():
            if connection.channel is not None:
                connection.channel.drain()
            elif connection.exchange is None and connection.intake.waiting:
                connection.deadline = min(connection.deadline, self.now + self._limits.farewell)

    def keep_alive(self, exchange: Exchange) -> bool:
        """Whether the connection may serve another request after this answer."""
        request, head = exchange.request, exchange.request.head
        ending = request.last or self.draining or exchange.connection.ended
        return bool(head and head.keep_alive and not ending)

    def answer(self, exchange: Exchange, data: bytes, *, keep_alive: bool) -> None:
        """Send a whole answer, or the last part of one."""
        if exchange.done:
            return
        self._count(exchange, data)
        exchange.done = True
        self._handler.answered(exchange)
        connection = exchange.connection
        connection.exchange = None
        connection.closing = not keep_alive
        self._send(connection, data)
        if self._connections.get(connection.fd) is not connection or connection.closing:
            return
        if not connection.out:
            connection.deadline = self.now + self._limits.idle
        self._next(connection)

    def part(self, exchange: Exchange, data: bytes) -> int:
        """Send a part of an answer; return how many bytes wait for the client."""
        if not exchange.done:
            self._count(exchange, data)
            exchange.started = True
            self._send(exchange.connection, data)
        return len(exchange.connection.out)

    def switch(self, exchange: Exchange, channel: Channel) -> None:
        """Leave HTTP: the answer to a request has begun, and all that comes from its client is for a channel."""
        connection = exchange.connection
        if exchange.done:
            channel.ended()
            return
        connection.channel = channel
        rest = connection.intake.rest()
        if rest:
            channel.feed(rest)

    def listen(self, exchange: Exchange, *, wanted: bool) -> None:
        """Read from the client of a channel, or leave what it sends to the kernel."""
        connection = exchange.connection
        if not exchange.done:
            self._watch(connection, connection.events | _IN if wanted else connection.events & ~_IN)

    def _count(self, exchange: Exchange, data: bytes) -> None:
        if not exchange.started:
            exchange.status = int(data[9:12])
        exchange.sent += len(data)

    def abort(self, exchange: Exchange) -> None:
        """End an answer that cannot be completed: the client sees the connection break."""
        if not exchange.done:
            self._drop(exchange.connection)

    @property
    def open(self) -> int:
        """Connections that this loop has."""
        return len(self._connections)

    def _happened(self, fd: int, mask: int) -> None:
        connection = self._connections.get(fd)
        if connection is None:
            source = self._sources.get(fd)
            if source is not None:
                source()
            return
        if mask & _OUT:
            self._flush(connection)
        if fd not in self._connections:
            return
        if mask & _IN:
            self._read(connection)
        elif mask & (select.EPOLLHUP | select.EPOLLERR):
            self._drop(connection)

    def _posted(self) -> None:
        os.eventfd_read(self._wake)
        while self._posts:
            self._posts.popleft()()

    def _passed_on(self) -> None:
        for sock, address in self._seats.receive():
            self._adopt(sock, address)

    def _signalled(self) -> None:
        os.read(self._owner.fileno(), READ)
        self._next_tick = 0.0

    def _adopt(self, sock: socket.socket, address: str) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(sock, address, Intake(self._limits.body, self._limits.folder))
        connection.deadline = self.now + (self._limits.farewell if self.draining else self._limits.idle)
        connection.events = _IN
        self._connections[connection.fd] = connection
        self._epoll.register(connection.fd, _IN)
        if len(self._connections) >= self._limits.connections:
            self._door.shut()

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(READ if connection.channel is None else _FRAMES)
        except BlockingIOError:
            return
        except OSError:
            self._drop(connection)
            return
        if not data:
            self._ended(connection)
        elif connection.lingering:
            return
        elif connection.channel is not None and connection.exchange is not None:
            connection.channel.feed(data)
        elif connection.exchange is not None or connection.closing or connection.out:
            connection.intake.hold(data)
            if connection.intake.buffered > _READ_AHEAD:
                self._watch(connection, connection.events & ~_IN)
        else:
            if connection.intake.waiting:
                connection.started = self.now
            request = connection.intake.feed(data)
            if request is not None:
                self._begin(connection, request)
            else:
                self._wait(connection)

    def _wait(self, connection: Connection) -> None:
        """Wait for the rest of a request."""
        head, limits = connection.intake.head, self._limits
        started = connection.started
        if head is None:
            connection.deadline = started + limits.head
            return
        connection.deadline = min(started + limits.whole, self.now + limits.stall)
        if head.expects_continue and not connection.continued:
            connection.continued = True
            self._send(connection, CONTINUE)

    def _begin(self, connection: Connection, request: Request) -> None:
        """Hand a whole request to the handler, or refuse it."""
        if self._connections.get(connection.fd) is not connection:
            return
        connection.deadline = math.inf
        connection.continued = False
        exchange = connection.exchange = Exchange(connection, request, self.now)
        if request.error is None:
            self._handler.take(exchange)
            return
        keep_alive = self.keep_alive(exchange)
        self.answer(exchange, refusal(request.head, request.error, keep_alive=keep_alive), keep_alive=keep_alive)

    def _next(self, connection: Connection) -> None:
        """Look for another request in what was read while the last one was answered."""
        if connection.out or connection.intake.waiting:
            return
        connection.started = self.now
        request = connection.intake.next()
        if request is not None:
            connection.deadline = math.inf
            self._ready.append((connection, request))
        else:
            self._wait(connection)
        if not connection.events & _IN:
            self._watch(connection, connection.events | _IN)

    def _ended(self, connection: Connection) -> None:
        """The client sends no more; it may still read."""
        connection.ended = True
        idle = connection.exchange is None and connection.intake.waiting and not connection.out
        if connection.lingering or idle or connection.channel is not None:
            self._drop(connection)
            return
        self._watch(connection, connection.events & ~_IN)
        if connection.halfway:
            error = ProtocolError("The request ended early. Send it again, whole.")
            self._begin(connection, Request(connection.intake.head, error=error, last=True))

    def _send(self, connection: Connection, data: bytes) -> None:
        if connection.out:
            connection.out += data
            return
        try:
            sent = connection.sock.send(data) if data else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(connection)
            return
        if sent < len(data):
            connection.out += memoryview(data)[sent:]
            connection.deadline = self.now + self._limits.stall
            self._watch(connection, connection.events | _OUT)
        elif connection.closing:
            self._linger(connection)

    def _flush(self, connection: Connection) -> None:
        """Send more of what waits."""
        try:
            sent = connection.sock.send(connection.out)
        except BlockingIOError:
            return
        except OSError:
            self._drop(connection)
            return
        del connection.out[:sent]
        connection.deadline = self.now + self._limits.stall
        if connection.out:
            return
        self._watch(connection, connection.events & ~_OUT)
        if connection.exchange is not None:
            connection.deadline = math.inf
        elif connection.closing:
            self._linger(connection)
        else:
            connection.deadline = self.now + self._limits.idle
            self._next(connection)

    def _linger(self, connection: Connection) -> None:
        """Say that the answer was the last, and wait a little for the client to close."""
        if connection.ended:
            self._drop(connection)
            return
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(connection)
            return
        connection.lingering = True
        connection.deadline = self.now + _LINGER
        self._watch(connection, _IN)

    def _watch(self, connection: Connection, events: int) -> None:
        if events != connection.events:
            connection.events = events
            self._epoll.modify(connection.fd, events)

    def _drop(self, connection: Connection) -> None:
        """Close at once; whoever answers its request need not any more."""
        if self._connections.get(connection.fd) is not connection:
            return
        del self._connections[connection.fd]
        connection.ended = True
        exchange, connection.exchange = connection.exchange, None
        if exchange is not None:
            exchange.done = True
            exchange.status = exchange.status or CLIENT_GONE
            self._handler.answered(exchange)
        if connection.channel is not None:
            connection.channel.ended()
        connection.intake.close()
        self._epoll.unregister(connection.fd)
        connection.sock.close()
        self._seats.closed()
        if not self.draining:
            self._door.open()

    def _tick(self) -> None:
        late = [connection for connection in self._connections.values() if connection.deadline <= self.now]
        for connection in late:
            if connection.halfway:
                error = ProtocolError("The rest of the request did not come in time. Send it again, whole.", 408)
                self._begin(connection, Request(connection.intake.head, error=error, last=True))
            else:
                self._drop(connection)
        for channel in [entry.channel for entry in self._connections.values() if entry.channel is not None]:
            channel.tick(self.now)
        self._seats.count(len(self._connections), self.now)
        self._handler.tick(self.now)
        if not self._owner.tick():
            self.stop()
        if self.draining:
            return
        self._door.even_out(self._connections)
        if len(self._connections) < self._limits.connections:
            self._door.open()
