"""Where a whole request goes: `/ping` and the hot route stay in the loop, the rest is for the application's threads."""

from ..errors import Overloaded, RequestError
from .gateway.connection import Exchange
from .gateway.loop import Loop
from .gateway.reply import full, refusal
from .gateway.wsgi import Threads
from .hot import HotRoute

_PING = "/ping"
_PING_METHODS = frozenset({"GET", "HEAD", "POST"})


class Front:
    """Handler of the loop."""

    def __init__(self, loop: Loop, threads: Threads, hot: HotRoute | None) -> None:
        self._loop = loop
        self._threads = threads
        self._hot = hot

    @property
    def pending(self) -> bool:
        """Whether a batch waits for the loop's thread."""
        return self._hot is not None and self._hot.runner.pending

    @property
    def full(self) -> bool:
        """Whether the next batch cannot grow."""
        return self._hot is not None and self._hot.runner.batcher.full

    def take(self, exchange: Exchange) -> None:
        """Answer a request or pass it on."""
        head = exchange.request.head
        if head is None:
            return
        if head.path == _PING and head.method in _PING_METHODS:
            keep_alive = self._loop.keep_alive(exchange)
            self._loop.answer(exchange, full(head, 200, b"", keep_alive=keep_alive), keep_alive=keep_alive)
            return
        if self._hot is not None and self._hot.takes(exchange):
            self._hot.take(exchange, head)
            return
        try:
            self._threads.submit(exchange)
        except Overloaded as error:
            keep_alive = self._loop.keep_alive(exchange)
            self._loop.answer(exchange, refusal(head, error, keep_alive=keep_alive), keep_alive=keep_alive)

    def refused(self, exchange: Exchange, error: RequestError) -> None:
        """Note what the loop refuses itself."""

    def turn(self) -> None:
        """Run a batch."""
        if self._hot is not None:
            self._hot.runner.turn()

    def tick(self, now: float) -> None:
        """Give up what takes too long."""
        if self._hot is not None:
            self._hot.runner.tick(now)
