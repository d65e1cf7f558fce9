"""Answers in parts, from generators of the user's: the first part decides the status, the end is always told."""

import logging
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import orjson

from ..errors import TwofoldError
from .defaults import as_bytes

log = logging.getLogger(__name__)


class BrokenStream(TwofoldError):
    """An answer could not be brought to its end; raised to the server, whose client has been told."""


class Stream:
    """The parts of an answer as bytes; each is made while this holds the turn, and not before it is asked for.

    An error after the first part cannot change the status any more: it is logged under an id, a last line of JSON tells
    the client, and the connection ends without the end that HTTP promises.
    """

    def __init__(self, parts: Iterator[Any], turn: AbstractContextManager[Any], *, lines: bool) -> None:
        """Take a generator and make its first part, so that its errors can still be told by a status.

        Args:
            parts: text, bytes, or anything that JSON can write.
            turn: held while a part is made.
            lines: whether each part becomes a line.
        """
        self._parts, self._turn, self._end = parts, turn, b"\n" if lines else b""
        with turn:
            self._first = [self._encode(part) for part in self._some()]

    def __iter__(self) -> Iterator[bytes]:
        """Return itself."""
        return self

    def __next__(self) -> bytes:
        """Make the next part."""
        if self._first:
            return self._first.pop()
        try:
            with self._turn:
                return self._encode(next(self._parts))
        except (StopIteration, BrokenStream):
            raise
        except Exception:
            request_id = uuid.uuid4().hex
            log.exception("Request %s failed after its answer had begun", request_id)
            message = f"The server failed to go on. Look for {request_id} in its log."
            self._parts = _broken(request_id)
            return orjson.dumps({"error": {"code": 500, "message": message}}) + b"\n"

    def close(self) -> None:
        """End the generator, as when the client has gone away."""
        close = getattr(self._parts, "close", None)
        if close is not None:
            with self._turn:
                close()

    def _some(self) -> list[Any]:
        for part in self._parts:
            return [part]
        return []

    def _encode(self, part: Any) -> bytes:  # noqa: ANN401
        return as_bytes(part) + self._end


def _broken(request_id: str) -> Iterator[Any]:
    """Fail where the next part is asked for, so that the server breaks the connection off."""
    raise BrokenStream(f"Request {request_id} ended in the midst of its answer.")
    yield
