"""Bodies of lines with bad rows among them, for batch transforms that are to go on: the bad ones are answered by NaN.

A bad line of a MultiRecord request would else fail its whole file.
Source: https://docs.aws.amazon.com/sagemaker/latest/dg/batch-transform-errors.html
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..errors import FormatError, RequestError
from ..formats.rows import Rows, RowShape
from ..formats.table import MEDIA_TYPES

LINES = {name: entry.decode_lines for name, entry in MEDIA_TYPES.items() if entry.decode_lines is not None}
"""What reads each media type of which a line is a row."""


@dataclass(frozen=True, slots=True)
class ReadLines:
    """The rows of a body, apart from the bad ones."""

    rows: Rows
    """The good rows `[good, *row_shape]`."""
    places: list[int]
    """Line of each of them, counted from 0."""
    lines: int
    """All lines."""
    errors: list[str]
    """What is wrong with each of the others, in order."""

    def spread(self, predictions: Rows) -> Rows:
        """Put the answers to the good rows into their places `[lines, ...]`, and NaN into the others."""
        whole = np.full((self.lines, *predictions.shape[1:]), np.nan, dtype=np.float32)
        whole[self.places] = predictions
        return whole


@dataclass(slots=True)
class Tally:
    """How many bad rows came since it was last emptied; safe to use from several threads."""

    _count: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, number: int) -> None:
        """Count some."""
        with self._lock:
            self._count += number

    def drain(self) -> int:
        """Return the number, and begin anew."""
        with self._lock:
            count, self._count = self._count, 0
            return count


def read_lines(body: bytes, kind: str, row_shape: RowShape, check: Callable[[Rows], None]) -> ReadLines:
    """Read a body line by line; halves of it are tried as long as there is a bad line in them.

    Args:
        body: whole lines; blank ones at its end do not count.
        kind: its media type, one of `LINES`.
        row_shape: shape of a row.
        check: refuses rows that the model cannot take, by a RequestError.
    """
    body = body.rstrip()
    lines = body.split(b"\n") if body else []
    parts, places, errors = [np.empty((0, *row_shape), dtype=np.float32)], list[int](), list[str]()

    def read(start: int, stop: int) -> None:
        try:
            rows = _decode(lines[start:stop], kind, row_shape, start + 1)
            check(rows)
        except (FormatError, RequestError) as error:
            if stop - start > 1:
                middle = (start + stop) // 2
                read(start, middle)
                read(middle, stop)
            else:
                told = str(error)
                errors.append(told if told.startswith("line ") else f"line {stop}: {told}")
            return
        parts.append(rows)
        places.extend(range(start, stop))

    if lines:
        read(0, len(lines))
    return ReadLines(np.concatenate(parts), places, len(lines), errors)


def _decode(lines: list[bytes], kind: str, row_shape: RowShape, first_line: int) -> Rows:
    rows = LINES[kind](b"\n".join(lines), row_shape, first_line)
    if len(rows) != len(lines):
        # Decoders pass over blank lines at the end; here it is the end of a part.
        raise FormatError(f"line {first_line + len(rows)} is empty, expected a row.")
    return rows
