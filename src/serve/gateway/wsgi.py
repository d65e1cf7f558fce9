"""Everything but the hot route: the WSGI application, in threads, with answers that may stream."""

import io
import itertools
import logging
import queue
import sys
import threading
from collections.abc import Callable, Iterable
from typing import IO, Any

from ...errors import Overloaded
from ..replies import error_body
from .connection import Exchange
from .head import Head
from .intake import Request
from .loop import Loop
from .outlet import ClientGone, Outlet
from .reply import JSON, full, start_of

Application = Callable[..., Iterable[bytes]]

_WHOLE = 1 << 20
"""Bytes of an answer of known length that is sent in one piece."""

log = logging.getLogger(__name__)


class Threads:
    """Threads that run the application; started as they are needed."""

    def __init__(self, application: Application, loop: Loop, *, threads: int, waiting: int, port: int) -> None:
        self._application = application
        self._loop = loop
        self._most = threads
        self._waiting = waiting
        self._port = port
        self._queue: queue.SimpleQueue[Exchange] = queue.SimpleQueue()
        self._threads = 0
        self._idle = 0
        self._running: dict[str, Exchange] = {}
        self._lock = threading.Lock()

    def submit(self, exchange: Exchange) -> None:
        """Have a request answered.

        Raises:
            Overloaded: too many wait already.
        """
        if self._queue.qsize() >= self._waiting:
            raise Overloaded(f"{self._waiting} requests wait already, which is the limit. Try again later.", 1)
        with self._lock:
            start = self._idle <= self._queue.qsize() and self._threads < self._most
            self._threads += start
        self._queue.put(exchange)
        if start:
            threading.Thread(target=self._work, name=f"request-{self._threads}", daemon=True).start()

    def oldest(self, path: str) -> float:
        """When the request to a path came that waits longest for the first part of its answer; 0 where none does."""
        return min((entry.arrived for entry in list(self._running.values()) if _waits(entry, path)), default=0.0)

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            exchange = self._queue.get()
            with self._lock:
                self._idle -= 1
            if exchange.gone:
                self._loop.post(lambda exchange=exchange: self._loop.abort(exchange))  # type: ignore[misc]  # bound now
                continue
            name = threading.current_thread().name
            self._running[name] = exchange
            _Call(self._application, self._loop, exchange, self._port).run()
            del self._running[name]


class _Call:
    """One run of the application."""

    def __init__(self, application: Application, loop: Loop, exchange: Exchange, port: int) -> None:
        self._application = application
        self._loop = loop
        self._exchange = exchange
        self._port = port
        self._status = ""
        self._headers: list[tuple[str, str]] = []
        self._outlet: Outlet[bytes] = Outlet(loop, exchange, bytes)

    def run(self) -> None:
        """Answer the request, whatever happens."""
        exchange, request = self._exchange, self._exchange.request
        if request.head is None:
            return
        try:
            parts = self._application(self._environ(request.head, request), self._start)
            try:
                self._send(request.head, parts)
            finally:
                close = getattr(parts, "close", None)
                if close:
                    close()
        except ClientGone:
            log.debug("The client of %s has gone", request.head.path)
        except Exception:
            log.exception("The application failed at %s %s", request.head.method, request.head.path)
            self._fail(request.head)
        finally:
            if request.file:
                request.file.close()
            # What the application never finished must not hold its connection.
            self._loop.post(lambda: self._loop.abort(exchange))

    def _start(self, status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Callable[[bytes], None]:  # noqa: ARG002  WSGI has it
        self._status, self._headers = status, headers
        return self._write

    def _write(self, _data: bytes) -> None:
        message = "write() of WSGI is not supported, expected an iterable of bytes"
        raise NotImplementedError(message)

    def _send(self, head: Head, parts: Iterable[bytes]) -> None:
        rest = iter(parts)
        # A generator calls start_response only when it is asked for its first part.
        parts = itertools.chain([next(rest, b"")], rest)
        length = next((int(value) for name, value in self._headers if name.lower() == "content-length"), None)
        bodiless = head.method == "HEAD" or self._status[:3] in {"204", "304"} or self._status[:1] == "1"
        if bodiless or (length is not None and length <= _WHOLE):
            self._finish(head, b"" if bodiless else b"".join(parts))
            return
        chunked = length is None and head.version == "1.1"
        unframed = length is None and not chunked
        keep_alive = self._loop.keep_alive(self._exchange) and not unframed
        self._outlet.send(start_of(head, self._status, self._headers, chunked=chunked, keep_alive=keep_alive))
        for part in parts:
            if part:
                self._outlet.send(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
        self._end(b"0\r\n\r\n" if chunked else b"", keep_alive=keep_alive)

    def _finish(self, head: Head, body: bytes) -> None:
        keep_alive = self._loop.keep_alive(self._exchange)
        self._end(
            start_of(head, self._status, self._headers, chunked=False, keep_alive=keep_alive) + body,
            keep_alive=keep_alive,
        )

    def _end(self, data: bytes, *, keep_alive: bool) -> None:
        exchange = self._exchange
        self._loop.post(lambda: self._loop.answer(exchange, data, keep_alive=keep_alive))

    def _fail(self, head: Head) -> None:
        def send() -> None:
            if self._exchange.started:
                self._loop.abort(self._exchange)
                return
            data = full(
                head, 500, error_body(500, "The server failed to answer. Look in its log."), JSON, keep_alive=False
            )
            self._loop.answer(self._exchange, data, keep_alive=False)

        self._loop.post(send)

    def _environ(self, head: Head, request: Request) -> dict[str, Any]:
        body: IO[bytes] = request.file or io.BytesIO(request.body)
        environ: dict[str, Any] = {
            "REQUEST_METHOD": head.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": head.path,
            "QUERY_STRING": head.query,
            "RAW_URI": head.target,
            "SERVER_NAME": head.get("host").partition(":")[0] or "localhost",
            "SERVER_PORT": str(self._port),
            "SERVER_PROTOCOL": f"HTTP/{head.version}",
            "REMOTE_ADDR": self._exchange.connection.address,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": body,
            "wsgi.input_terminated": True,
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        for name, value in head.headers:
            # An underscore would pass for a hyphen here: a way to slip a header past a proxy.
            if "_" in name or name in {"transfer-encoding", "content-length", "content-type"}:
                continue
            key = "HTTP_" + name.upper().replace("-", "_")
            environ[key] = f"{environ[key]}, {value}" if key in environ else value
        if head.content_type:
            environ["CONTENT_TYPE"] = head.content_type
        if head.has_length or head.chunked:
            environ["CONTENT_LENGTH"] = str(request.size)
        return environ


def _waits(exchange: Exchange, path: str) -> bool:
    head = exchange.request.head
    return head is not None and head.path == path and not (exchange.started or exchange.done)
