"""A loop that runs in a thread of the test, with a WSGI application behind it."""

import contextlib
import os
import socket
import threading

import pytest
from twofold.errors import Overloaded, RequestError
from twofold.serve.board import Board
from twofold.serve.gateway.limits import Limits
from twofold.serve.gateway.loop import Loop
from twofold.serve.gateway.reply import refusal
from twofold.serve.gateway.seats import Passage, Seats
from twofold.serve.gateway.websocket import WebSockets
from twofold.serve.gateway.wsgi import Threads


class Straight:
    """A handler that gives everything to the application."""

    pending = full = idle = False

    def __init__(self, threads):
        self.threads = threads
        self.statuses = []

    def take(self, exchange):
        self.threads.submit(exchange)

    def answered(self, exchange):
        self.statuses.append(exchange.status)

    def turn(self):
        raise NotImplementedError

    def tick(self, now):
        pass


class Talking(Straight):
    """A handler that makes every request but `/ping` a WebSocket."""

    def __init__(self, threads, loop, limits, talk):
        super().__init__(threads)
        self.loop = loop
        self.sockets = WebSockets(loop, limits, talk)

    def take(self, exchange):
        head = exchange.request.head
        if head.path == "/ping":
            super().take(exchange)
            return
        try:
            self.sockets.open(exchange, head)
        except (Overloaded, RequestError) as error:
            self.loop.answer(exchange, refusal(head, error, keep_alive=True), keep_alive=True)


class Owner:
    """Tells the loop to stop."""

    def __init__(self):
        self.alive = True
        self.pipe = os.pipe()

    def fileno(self):
        return self.pipe[0]

    def tick(self):
        return self.alive

    def stop(self):
        self.alive = False
        os.write(self.pipe[1], b".")


class Gateway:
    """A running loop and its address, or one beside another, which has connections only from that."""

    def __init__(self, application, folder, threads=8, waiting=64, talk=None, beside=None, **limits):
        self.board, self.passage = (beside.board, beside.passage) if beside else (Board(2), Passage(2))
        listeners = [] if beside else [socket.create_server(("127.0.0.1", 0), backlog=512)]
        self.address = beside.address if beside else listeners[0].getsockname()
        self.beside = beside
        bounds = Limits(folder=folder, **limits)
        self.loop = Loop(listeners, bounds, Seats(self.board, self.passage, 1 if beside else 0))
        self.owner = Owner()
        pool = Threads(application, self.loop, threads=threads, waiting=waiting, port=0)
        self.handler = Talking(pool, self.loop, bounds, talk) if talk else Straight(pool)
        self.thread = threading.Thread(target=self.loop.run, args=(self.handler, self.owner))
        self.thread.start()

    def connect(self):
        return socket.create_connection(self.address, timeout=30)

    def raw(self, data):
        """Send bytes and return all that comes back until the server closes."""
        with self.connect() as client:
            client.sendall(data)
            return b"".join(iter(lambda: client.recv(1 << 16), b""))

    def stop(self):
        self.owner.stop()
        self.thread.join(30)
        assert not self.thread.is_alive()
        for handle in self.owner.pipe:
            os.close(handle)
        if self.beside is None:
            for pair in self.passage.pairs:
                for end in pair:
                    end.close()


@pytest.fixture
def gateway(tmp_path):
    """Start loops: `gateway(application, **limits)`; they end with the test."""
    with contextlib.ExitStack() as stack:

        def start(application, **limits):
            running = Gateway(application, tmp_path, **limits)
            stack.callback(running.stop)
            return running

        yield start
