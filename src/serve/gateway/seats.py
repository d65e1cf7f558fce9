"""Accepted connections, handed out evenly.

The kernel gives a new connection to whichever worker asks first, so one can have all and the others idle. Here whoever
accepts passes the connection on to the worker that has the fewest, through a pair of sockets that all share since
before the fork. What is on its way to a worker that dies is still there for the one that takes its seat.
"""

import socket

from ..board import BEAT, CONNECTIONS, SERVING, STATE, STOPPING, Board


class Passage:
    """The pairs of sockets, one a seat; made before the fork."""

    def __init__(self, seats: int) -> None:
        self.pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(seats)]
        for pair in self.pairs:
            for end in pair:
                end.setblocking(False)


class Seats:
    """What the worker in one seat sees of all."""

    def __init__(self, board: Board, passage: Passage, seat: int) -> None:
        self._board = board
        self._pairs = passage.pairs
        self._seat = seat
        self._row = board.rows[seat]

    def fileno(self) -> int:
        """Where connections from other workers come in."""
        return self._pairs[self._seat][0].fileno()

    def send(self, sock: socket.socket) -> bool:
        """Pass a connection on if another worker has fewer; False if it is to be kept."""
        rows = self._board.rows
        best = self._seat
        for seat in self._board.alive():
            if rows[seat][CONNECTIONS] < rows[best][CONNECTIONS]:
                best = seat
        rows[best][CONNECTIONS] += 1
        if best == self._seat:
            return False
        try:
            socket.send_fds(self._pairs[best][1], [b"."], [sock.fileno()])
        except OSError:
            # Its queue is full: it is busy, whatever its number says.
            self._row[CONNECTIONS] += 1
            return False
        sock.close()
        return True

    def receive(self) -> list[tuple[socket.socket, str]]:
        """Take what others have passed on."""
        taken: list[tuple[socket.socket, str]] = []
        while True:
            try:
                _, handles, _, _ = socket.recv_fds(self._pairs[self._seat][0], 1, 1)
            except OSError:
                return taken
            for handle in handles:
                sock = socket.socket(fileno=handle)
                try:
                    taken.append((sock, sock.getpeername()[0]))
                except OSError:
                    # The client has gone in the meantime.
                    sock.close()
                    self.closed()

    def open(self, now: float) -> None:
        """Be given connections from now on."""
        self._row[BEAT] = now
        self._row[STATE] = SERVING

    def leave(self) -> None:
        """Be given no more."""
        self._row[STATE] = STOPPING

    def closed(self) -> None:
        """Count one connection less."""
        self._row[CONNECTIONS] -= 1

    def count(self, connections: int, now: float) -> None:
        """Set the number right: two processes that change it at once can lose one of the changes."""
        self._row[CONNECTIONS] = connections
        self._row[BEAT] = now
