"""Parts of an answer on their way from another thread to the client, which may be slower than what makes them."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from .connection import Exchange
from .loop import Loop

_AHEAD = 1 << 20
"""Bytes that may wait for the client before the thread does."""
_LOOK_AGAIN = 0.02
"""Seconds after which a thread looks whether its client has taken more."""

Part = TypeVar("Part")


class ClientGone(Exception):
    """The client of an answer that comes in parts has closed its connection."""


class Outlet(Generic[Part]):
    """The way of one answer; for one thread besides the loop's."""

    def __init__(self, loop: Loop, exchange: Exchange, frame: Callable[[Part], bytes]) -> None:
        """Take what turns a part into bytes, called in the loop's thread."""
        self._loop = loop
        self._exchange = exchange
        self._frame = frame
        self._sent = threading.Event()

    def send(self, part: Part) -> None:
        """Send a part; wait where the client is slower than what makes them.

        Raises:
            ClientGone: nobody takes it.
        """
        exchange, sent = self._exchange, self._sent
        sent.clear()

        def post() -> None:
            if not exchange.done:
                self._loop.part(exchange, self._frame(part))
            sent.set()

        self._loop.post(post)
        sent.wait()
        while not exchange.done:
            if len(exchange.connection.out) <= _AHEAD:
                return
            sent.clear()
            sent.wait(_LOOK_AGAIN)
        raise ClientGone
