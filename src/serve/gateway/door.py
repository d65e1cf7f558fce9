"""Where connections come in: the listening sockets that all workers share."""

import errno
import logging
import select
import socket
from collections.abc import Callable

from .connection import Connection
from .seats import Seats

_AT_ONCE = 64
"""Connections that are accepted before others are read."""
_FULL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

log = logging.getLogger(__name__)


class Door:
    """Accepts connections, for this worker or the one that has the fewest."""

    def __init__(
        self,
        listeners: list[socket.socket],
        epoll: select.epoll,
        seats: Seats,
        adopt: Callable[[socket.socket, str], None],
    ) -> None:
        self.listeners = listeners
        self._epoll = epoll
        self._seats = seats
        self._adopt = adopt
        self._open = False

    def open(self) -> None:
        """Accept from now on."""
        if not self._open:
            self._open = True
            for listener in self.listeners:
                listener.setblocking(False)
                self._epoll.register(listener, select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def shut(self) -> None:
        """Leave new connections to others, or in the kernel's hands."""
        if self._open:
            self._open = False
            for listener in self.listeners:
                self._epoll.unregister(listener)

    def close(self) -> None:
        """Take whom the kernel has let in already, and refuse all others."""
        self.shut()
        for listener in self.listeners:
            while self._accept(listener, keep=True):
                pass
            listener.close()
        self.listeners = []

    def answer(self) -> None:
        """Accept some of those who wait."""
        for listener in self.listeners:
            for _ in range(_AT_ONCE):
                if not self._accept(listener):
                    break

    def even_out(self, connections: dict[int, Connection]) -> None:
        """Pass idle ones of these connections on while another worker has fewer.

        Those that came before the other had begun, or in its place when it was killed, would stay for as long as their
        clients keep them.
        """
        for connection in [entry for entry in connections.values() if entry.idle]:
            # A connection less here: then it is as if it came in now.
            self._seats.closed()
            self._epoll.unregister(connection.fd)
            if not self._seats.send(connection.sock):
                self._epoll.register(connection.fd, connection.events)
                return
            del connections[connection.fd]

    def _accept(self, listener: socket.socket, *, keep: bool = False) -> bool:
        """Accept one connection; False where none waits, or none can be had."""
        try:
            sock, address = listener.accept()
        except OSError as error:
            if error.errno in _FULL:
                log.error("No connection can be accepted: %s. Raise the limit of open files.", error)
                self.shut()
            return False
        if keep or not self._seats.send(sock):
            self._adopt(sock, address[0])
        return True
