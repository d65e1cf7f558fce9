"""CSV as SageMaker's built-in algorithms have it: numbers and commas, one row a line, no header line.

Lines end in LF or CRLF, the last one with or without; blank lines at the end are ignored, elsewhere refused, because an
answer must have one line for each. Blanks around numbers, quotes around numbers and a byte order mark are
accepted. Empty fields, NaN and infinities are refused: no model here knows what they mean.

Numbers are read by orjson, whose float parser is about three times as fast as numpy's: a block of lines without
anything but digits and commas becomes one JSON list. A block that JSON does not understand (`.5`, `+1`, `"1"`, or a
mistake) is read again field by field, which also finds the place of the mistake.
"""

import re

import numpy as np
import orjson

from ..errors import FormatError
from .rows import Labels, Rows, RowShape, count, first_not_finite, to_float32

_BLOCK = 1 << 18
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PLAIN = b"0123456789.,-+eE\r\n \t"
_LARGEST = float(np.finfo(np.float32).max)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_MISSING = frozenset({"nan", "na", "n/a", "null", "none", "inf", "infinity", "?"})


def decode(data: bytes, *, first_line: int = 1, columns: int | None = None) -> Rows:
    """Read rows of numbers.

    Args:
        data: whole lines; nothing but blanks gives no rows.
        first_line: number of the first line of `data` in its file, for messages.
        columns: values that each line must have; by default as many as the first line has.

    Returns:
        Array `[rows, columns]` of finite float32.

    Raises:
        FormatError: names the line and the column.
    """
    data = data.removeprefix(_BYTE_ORDER_MARK).rstrip() if first_line == 1 else data.rstrip()
    if not data:
        return np.empty((0, columns or 0), dtype=np.float32)
    blocks: list[Rows] = []
    start = 0
    while start < len(data):
        end = data.find(b"\n", start + _BLOCK)
        end = len(data) if end < 0 else end
        block = _decode_block(data[start:end], first_line, columns)
        columns = block.shape[1]
        first_line += len(block)
        blocks.append(block)
        start = end + 1
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def decode_rows(data: bytes, row_shape: RowShape | None = None, first_line: int = 1) -> Rows:
    """Read rows of a known shape; a line holds a row's values in C order (last axis fastest)."""
    if row_shape is None or len(row_shape) == 1:
        return decode(data, first_line=first_line, columns=row_shape[0] if row_shape else None)
    return decode(data, first_line=first_line, columns=int(np.prod(row_shape))).reshape(-1, *row_shape)


def encode(values: Rows, labels: Labels | None = None) -> bytes:  # noqa: ARG001  every encoder takes labels
    """Write `[rows]` or `[rows, columns]`, one line a row, in the shortest digits that read back as the same float32.

    Labels are left out: a line of CSV has the values only. A value that is not finite becomes `nan`, `inf` or `-inf`.
    """
    if not len(values):
        return b""
    table = values.reshape(len(values), -1)
    if not np.isfinite(table).all():
        return "".join(",".join(map(str, row)) + "\n" for row in table).encode()
    json = orjson.dumps(np.ascontiguousarray(table), option=orjson.OPT_SERIALIZE_NUMPY)
    return json[2:-2].replace(b"],[", b"\n") + b"\n"


def is_number(text: str) -> bool:
    """Whether a field is written as a number, or as one of the usual words for a missing one."""
    text = text.strip()
    return bool(_NUMBER.fullmatch(text)) or text.lstrip("+-").lower() in _MISSING


def _decode_block(block: bytes, first_line: int, columns: int | None) -> Rows:
    if block.translate(None, _PLAIN):
        return _decode_fields(block, first_line, columns)
    width, even = _width(block)
    if not even or (columns is not None and width != columns):
        return _decode_fields(block, first_line, columns)
    try:
        rows = to_float32(orjson.loads(b"[" + block.replace(b"\n", b",") + b"]")).reshape(-1, width)
    except orjson.JSONDecodeError:
        return _decode_fields(block, first_line, columns)
    return _decode_fields(block, first_line, columns) if first_not_finite(rows) else rows


def _width(block: bytes) -> tuple[int, bool]:
    """Values of the first line, and whether every line has as many."""
    characters = np.frombuffer(block, dtype=np.uint8)
    starts = np.concatenate(([0], np.flatnonzero(characters == ord("\n")) + 1))
    if starts[-1] == len(block):
        return 0, False
    commas = np.add.reduceat(characters == ord(","), starts, dtype=np.int64)
    return int(commas[0]) + 1, bool((commas == commas[0]).all())


def _decode_fields(block: bytes, first_line: int, columns: int | None) -> Rows:
    """Read field by field: slower, takes every way to write a number, and knows where it is."""
    rows: list[list[float]] = []
    for line, content in enumerate(block.decode("utf-8", "backslashreplace").split("\n"), start=first_line):
        fields = content.split(",")
        row = [number(field, line, column, content) for column, field in enumerate(fields, start=1)]
        columns = len(row) if columns is None else columns
        if len(row) != columns:
            raise FormatError(f"line {line} has {count((len(row),))}, expected {columns}.")
        rows.append(row)
    return to_float32(rows)


def number(field: str, line: int, column: int, content: str) -> float:
    """Read one field; `content` is its line, which helps to explain a mistake.

    Raises:
        FormatError: no finite number that fits float32.
    """
    text = field.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].strip()
    if _NUMBER.fullmatch(text):
        value = float(text)
        if abs(value) <= _LARGEST:
            return value
        raise FormatError(
            f"line {line}, column {column} is {_shown(text)}, too large for float32. Scale the values down."
        )
    raise FormatError(_reason(text, line, column, content))


def _reason(text: str, line: int, column: int, content: str) -> str:
    """Why a field is no number, and what to change."""
    if not content.strip():
        return f"line {line} is empty, expected a row of numbers. Remove the empty line."
    if not text:
        return f"line {line}, column {column} is empty, expected a number. Fill it in or leave the row out."
    if text.lstrip("+-").lower() in _MISSING:
        return (
            f"line {line}, column {column} is {_shown(text)}, expected a finite number. Fill in missing values or "
            f"leave the row out."
        )
    if "," not in content and (";" in content or "\t" in content.strip()):
        found = "';'" if ";" in content else "tabs"
        return f"line {line} is separated by {found}, expected commas."
    if line == 1:
        return (
            f"line 1, column {column} is {_shown(text)}, expected a number. It looks like a header line: SageMaker's "
            f"CSV has none; remove it."
        )
    return f"line {line}, column {column} is {_shown(text)}, expected a number."


def _shown(text: str) -> str:
    """At most 40 characters of what was found, quoted."""
    return repr(text if len(text) <= 40 else text[:37] + "...")
