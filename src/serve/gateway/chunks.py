"""A body in chunks (RFC 9112, section 7.1), taken off the front of a buffer as far as it has come."""

import re

from ...errors import ProtocolError

MAX_LINE = 1024
"""Bytes of the line before a chunk, which holds its size and extensions that nobody reads."""
MAX_TRAILER = 8 << 10
"""Bytes of all lines after the last chunk, which nobody reads either."""

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?\r\n")
_TRAILER_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00-\x08\x0a-\x1f\x7f]*\r\n")
_END = b"\r\n"


class Chunks:
    """Reads one body; `done` once it has seen its end."""

    def __init__(self) -> None:
        self.done = False
        self._left: int | None = None
        self._trailer: int | None = None

    def take(self, buffer: bytearray) -> bytes:
        """Take what has come of the body off the front of a buffer; nothing behind the body is touched.

        Raises:
            ProtocolError: the chunks are broken.
        """
        pieces = []
        while not self.done and (piece := self._step(buffer)) is not None:
            pieces.append(piece)
        return b"".join(pieces)

    def _step(self, buffer: bytearray) -> bytes | None:
        """Take the next part; None where more must come first."""
        if self._trailer is not None:
            return self._trailer_line(buffer)
        if self._left is None:
            return self._size(buffer)
        if self._left == 0:
            return self._end(buffer)
        if not buffer:
            return None
        piece = bytes(buffer[: self._left])
        del buffer[: len(piece)]
        self._left -= len(piece)
        return piece

    def _size(self, buffer: bytearray) -> bytes | None:
        line = _line(buffer, MAX_LINE)
        if line is None:
            return None
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise ProtocolError(f"A chunk starts with {line[:40]!r}, expected its size in hex. Correct the client.")
        self._left = int(match[1], 16)
        if self._left == 0:
            self._trailer = 0
        return b""

    def _end(self, buffer: bytearray) -> bytes | None:
        if len(buffer) < len(_END):
            return None
        if buffer[: len(_END)] != _END:
            raise ProtocolError("A chunk is not followed by CR LF: it is longer than its size. Correct the client.")
        del buffer[: len(_END)]
        self._left = None
        return b""

    def _trailer_line(self, buffer: bytearray) -> bytes | None:
        line = _line(buffer, MAX_TRAILER)
        if line is None:
            return None
        self._trailer = (self._trailer or 0) + len(line)
        self.done = line == _END
        if not self.done and (self._trailer > MAX_TRAILER or not _TRAILER_LINE.fullmatch(line)):
            raise ProtocolError("The lines after the last chunk are no headers, or too many. Leave them out.")
        return b""


def _line(buffer: bytearray, limit: int) -> bytes | None:
    """Take a line with its end off the buffer; None while it has not come whole."""
    end = buffer.find(b"\n", 0, limit)
    if end < 0:
        if len(buffer) >= limit:
            raise ProtocolError(f"A line between chunks has over {limit} bytes. Correct the client.")
        return None
    line = bytes(buffer[: end + 1])
    del buffer[: end + 1]
    return line
