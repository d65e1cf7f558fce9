"""Rows of numbers read from JSON without a Python object for each number.

simdjson gives all numbers of a document at once, but not how they were nested. That is told by the brackets and
commas: what is left of a text when its numbers and spaces are taken out must be what a text of such rows has.

    {"instances": [[1, 2], [3, 4]]}   ->   [[,],[,]]}   for rows of 2

What is anything else (a sparse row, text, a short row, a number that no double holds) is left to the reader that can
tell what is wrong with it.
"""

import threading
from functools import lru_cache

import numpy as np
import simdjson

from .rows import Rows, RowShape, first_not_finite, to_float32

_NUMBERS = b"0123456789+-.eE \t\r\n"
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
    tokens = data.translate(None, _NUMBERS)
    row = _row_tokens(row_shape)
    count = len(values) // (row.count(b",") + 1)
    if not count or tokens[tokens.find(b"[") :] != b"[" + b",".join([row] * count) + b"]" + end:
        return None
    rows = to_float32(values)
    if rows.size != count * np.prod(row_shape) or first_not_finite(rows) is not None:
        return None
    return rows.reshape(count, *row_shape)


@lru_cache(maxsize=64)
def _row_tokens(shape: RowShape) -> bytes:
    """Brackets and commas of one row."""
    part = b""
    for size in reversed(shape):
        part = b"[" + b",".join([part] * size) + b"]"
    return part
