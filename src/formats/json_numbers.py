"""Rows of numbers read from JSON without a Python object for each number.

simdjson gives all numbers of a document at once, but not how they were nested. That is told by the brackets and
commas: what is left of a text when its numbers and spaces are taken out must be what a text of such rows has.

    {"instances": [[1, 2], [3, 4]]}   ->   [[,],[,]]}   for rows of 2

Where brackets are far apart, they are found and the commas between them are counted, which says the same.

What is anything else (a sparse row, text, a short row, a number that no double holds) is left to the reader that can
tell what is wrong with it.
"""

import math
import threading
from functools import lru_cache

import numpy as np
import simdjson

from .rows import Rows, RowShape, first_not_finite, to_float32

_NUMBERS = b"0123456789+-.eE \t\r\n"
_FAR, _LONG = 32, 16 << 10
"""Numbers between two brackets, and bytes of a text, from which on it is faster to look for brackets only."""
_WIDTH = 4
"""Bytes of a number of commas."""
_KEPT = 256 << 10
"""Bytes of the longest text for which a thread keeps its parser, whose memory is several times that."""


class _Parsers(threading.local):
    """A parser for each thread: it has its buffers, so two calls at once would overwrite each other."""

    def __init__(self) -> None:
        self.own = simdjson.Parser()


_parsers = _Parsers()


def read_rows(data: bytes, keys: tuple[str, ...], row_shape: RowShape) -> Rows | None:
    """Read `[rows, *row_shape]` from a list of rows, or from an object whose only key is one of `keys`.

    Returns:
        The rows; None for what is not of this form.
    """
    parser = _parsers.own if len(data) <= _KEPT else simdjson.Parser()
    try:
        body = parser.parse(data)
        items, end = body, b""
        if isinstance(body, simdjson.Object):
            [key] = body.keys()
            if key not in keys:
                return None
            items, end = body[key], b"}"
        if not isinstance(items, simdjson.Array):
            return None
        values = np.frombuffer(items.as_buffer(of_type="d"), np.float64)
    except (ValueError, TypeError, RuntimeError):
        return None
    count = len(values) // max(math.prod(row_shape), 1)
    if not count or count * math.prod(row_shape) != len(values) or not _nested(data, row_shape, count, end):
        return None
    rows = to_float32(values)
    if first_not_finite(rows) is not None:
        return None
    return rows.reshape(count, *row_shape)


def _nested(data: bytes, row_shape: RowShape, count: int, end: bytes) -> bool:
    """Whether the lists and numbers of a document are so many rows."""
    if row_shape[-1] >= _FAR and _LONG <= len(data) <= _KEPT:
        brackets, commas = _row_outline(row_shape)
        none = bytes(_WIDTH)
        # No comma follows the list's first bracket, its last row and its last bracket.
        commas = none + (commas * count)[:-_WIDTH] + none + none
        return _outline(data) == (b"[" + brackets * count + b"]", commas)
    tokens = data.translate(None, _NUMBERS)
    return tokens[tokens.find(b"[") :] == b"[" + b",".join([_row_tokens(row_shape)] * count) + b"]" + end


def _outline(data: bytes) -> tuple[bytes, bytes]:
    """Brackets of a document with only lists and numbers, and the number of commas between each and the next.

    It takes no branch for each byte: a processor cannot guess where a number ends.
    """
    text = np.frombuffer(data, np.uint8)
    # Of all that may stand there, only the brackets, 0x5B and 0x5D, are 0x5F with these two bits set.
    places = ((text | 6) == ord("_")).nonzero()[0]
    commas = np.add.reduceat((text == ord(",")).view(np.uint8), places, dtype=np.uint32)
    return text[places].tobytes(), commas.tobytes()


@lru_cache(maxsize=64)
def _row_outline(shape: RowShape) -> tuple[bytes, bytes]:
    """Outline of one row with another behind it."""
    return _outline(_row_tokens(shape) + b",")


@lru_cache(maxsize=64)
def _row_tokens(shape: RowShape) -> bytes:
    """Brackets and commas of one row."""
    part = b""
    for size in reversed(shape):
        part = b"[" + b",".join([part] * size) + b"]"
    return part
