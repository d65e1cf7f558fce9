"""From the bytes of one connection to its requests, one after another, however the network has cut them."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ...errors import ProtocolError, RequestError
from ..body import too_large
from .chunks import Chunks
from .head import MAX_HEAD, Head, parse_head

SPOOL = 16 << 20
"""Bytes of a body that stay in memory; a longer one goes to a file without a name."""

_CACHED_HEAD = 2 << 10
"""Bytes of the longest head that is looked for among those already parsed."""

_END = b"\r\n\r\n"


@dataclass(slots=True)
class Request:
    """A whole request, or what is wrong with it."""

    head: Head | None
    """Its head; None where not even that could be read."""
    body: bytes = b""
    """Its body, chunks put together; empty where it is in `file`."""
    file: IO[bytes] | None = None
    """A long body, read from its start."""
    size: int = 0
    """Bytes of the body."""
    error: RequestError | None = None
    """Why it is refused."""
    last: bool = False
    """Whether nothing can follow on this connection."""


class Intake:
    """Reads requests; each has to be taken before the next is looked at."""

    def __init__(self, limit: int | None, folder: Path) -> None:
        self._limit = limit
        self._folder = folder
        self._buffer = bytearray()
        self._head: Head | None = None
        self._chunks = Chunks()
        self._body = bytearray()
        self._file: IO[bytes] | None = None
        self._size = 0

    @property
    def waiting(self) -> bool:
        """Whether nothing of a next request is there."""
        return self._head is None and not self._buffer

    @property
    def buffered(self) -> int:
        """Bytes held in memory."""
        return len(self._buffer) + len(self._body)

    @property
    def head(self) -> Head | None:
        """Head of a request whose body is not whole yet."""
        return self._head

    def feed(self, data: bytes) -> Request | None:
        """Add what has been received; return a request once it is whole."""
        if not self._buffer and self._head is None:
            # By far the most common: one whole request with a head that has been seen before.
            end = data.find(_END) + len(_END)
            if len(_END) <= end <= _CACHED_HEAD:
                try:
                    head = parse_head(data[:end])
                except ProtocolError as error:
                    return Request(None, error=error, last=True)
                if len(data) - end == head.length <= SPOOL and not head.chunked and self._fits(head.length):
                    return Request(head, data[end:], size=head.length)
        self._buffer += data
        return self.next()

    def hold(self, data: bytes) -> None:
        """Add what has been received while another request is being answered."""
        self._buffer += data

    def next(self) -> Request | None:
        """Return the next request of what has been received, if it is whole."""
        try:
            if self._head is None:
                self._read_head()
            return self._read_body(self._head) if self._head else None
        except ProtocolError as error:
            return Request(self._head, error=error, last=True)

    def rest(self) -> bytes:
        """Take what has been received behind the last request."""
        return self._cut(len(self._buffer))

    def close(self) -> None:
        """Give up a body that is not whole."""
        if self._file:
            self._file.close()

    def _fits(self, size: int) -> bool:
        return self._limit is None or size <= self._limit

    def _read_head(self) -> None:
        buffer = self._buffer
        while buffer[:2] == b"\r\n":
            # Some old clients end a body with a line that they do not count.
            del buffer[:2]
        end = buffer.find(_END, 0, MAX_HEAD) + len(_END)
        if end < len(_END):
            if len(buffer) >= MAX_HEAD:
                raise ProtocolError(f"The head of the request is over {MAX_HEAD} bytes. Send fewer headers.", 431)
            return
        data = bytes(buffer[:end])
        self._head = parse_head(data) if end <= _CACHED_HEAD else parse_head.__wrapped__(data)
        del buffer[:end]

    def _read_body(self, head: Head) -> Request | None:
        """Collect the body of the request whose head is there."""
        if self._hopeless(head.length) or (head.expects_continue and not self._fits(head.length)):
            return self._finish(head, head.length, last=True)
        if head.chunked:
            self._keep(self._chunks.take(self._buffer))
            done = self._chunks.done
        elif head.length <= SPOOL and self._fits(head.length):
            # It lies in the buffer as it will be handed over, and is copied just once.
            return self._whole(head) if len(self._buffer) >= head.length else None
        else:
            self._keep(self._cut(head.length - self._size))
            done = self._size == head.length
        if done or self._hopeless(self._size):
            return self._finish(head, self._size, last=not done)
        return None

    def _whole(self, head: Head) -> Request:
        request = Request(head, self._cut(head.length), size=head.length)
        self._head = None
        return request

    def _cut(self, size: int) -> bytes:
        piece = bytes(memoryview(self._buffer)[:size])
        del self._buffer[:size]
        return piece

    def _hopeless(self, size: int) -> bool:
        """Whether a body is so far over the limit that its rest is not even thrown away.

        Many clients look for the answer only when they have sent everything, so a body up to twice the limit is read.
        """
        return self._limit is not None and size > 2 * self._limit

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if not self._fits(self._size):
            return
        if self._file is None and self._size > SPOOL:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115  closed by who reads it
            self._file.write(self._body)
            self._body = bytearray()
        if self._file is None:
            self._body += piece
        else:
            self._file.write(piece)

    def _finish(self, head: Head, size: int, *, last: bool) -> Request:
        """Hand the request over, or say that its body is over the limit."""
        request = Request(head, size=size, last=last)
        if self._limit is not None and size > self._limit:
            request.error = too_large(size, self._limit)
            self.close()
        else:
            request.body, request.file = bytes(self._body), self._file
            if request.file:
                request.file.seek(0)
        self._head, self._file, self._size = None, None, 0
        self._body, self._chunks = bytearray(), Chunks()
        return request
