"""Where a whole request goes: `/ping` is answered by the loop itself, everything else by the application in threads."""

from ..errors import Overloaded, RequestError
from .gateway.connection import Exchange
from .gateway.loop import Loop
from .gateway.reply import full, refusal
from .gateway.wsgi import Threads

_PING = "/ping"
_PING_METHODS = frozenset({"GET", "HEAD", "POST"})


class Front:
    """Handler of the loop."""

    def __init__(self, loop: Loop, threads: Threads) -> None:
        self._loop = loop
        self._threads = threads
        self.pending = False
        self.full = False

    def take(self, exchange: Exchange) -> None:
        """Answer a request or pass it on."""
        head = exchange.request.head
        if head is None:
            return
        if head.path == _PING and head.method in _PING_METHODS:
            keep_alive = self._loop.keep_alive(exchange)
            self._loop.answer(exchange, full(head, 200, b"", keep_alive=keep_alive), keep_alive=keep_alive)
            return
        try:
            self._threads.submit(exchange)
        except Overloaded as error:
            keep_alive = self._loop.keep_alive(exchange)
            self._loop.answer(exchange, refusal(head, error, keep_alive=keep_alive), keep_alive=keep_alive)

    def refused(self, exchange: Exchange, error: RequestError) -> None:
        """Note what the loop refuses itself."""

    def turn(self) -> None:
        """Nothing is collected."""

    def tick(self, now: float) -> None:
        """Nothing is due."""
