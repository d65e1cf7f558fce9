"""JSON Lines: one JSON value a line.

As rows, for models: each line one row in any of the forms that `json_rows` takes. As columns, for data sets: each line
an object, all with the same names; `{"text": "a cat", "box": [0, 4, 9, 9], "label": 3}`.

Blank lines at the end are ignored, elsewhere refused: an answer has one line for each line of the request.
"""

from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from ..errors import FormatError
from .json_rows import rows_of
from .json_values import numeric
from .rows import Column, Columns, Labels, Rows, RowShape, to_float32

_EXACT = 1 << 24


def decode_rows(data: bytes, row_shape: RowShape | None = None, first_line: int = 1) -> Rows:
    """Read rows `[rows, *row_shape]`; without `row_shape` the first line gives it.

    Raises:
        FormatError: names the line, e.g. `line 4: 63 values, expected 64`, and counts values in a line from 0.
    """
    return rows_of(_items(data, first_line), row_shape, lambda index: f"line {index + first_line}")


def decode_columns(data: bytes, *, first_line: int = 1) -> Columns:
    """Read objects of the same names.

    Args:
        data: whole lines; nothing but blanks gives no columns.
        first_line: number of the first line of `data` in its file, for messages.

    Returns:
        Numbers and even lists of numbers as float32 `[rows, ...]`, whatever their spelling, so that all parts of a file
        agree; lists of several lengths as a list of arrays; `true` and `false` as bool; text as a list of str.

    Raises:
        FormatError: names line and name; also a whole number that float32 cannot hold exactly.
    """
    items = _items(data, first_line)
    if not items:
        return {}
    names = list(items[0]) if isinstance(items[0], dict) else []
    for line, item in enumerate(items, start=first_line):
        if not isinstance(item, dict) or item.keys() != set(names) or not names:
            found = f"the names {', '.join(item)[:80] or 'none'}" if isinstance(item, dict) else "no object"
            expected = f"the names of line {first_line}: {', '.join(names)[:80]}" if names else 'such as {"label": 3}'
            raise FormatError(
                f"line {line}: {found}, expected an object with {expected}. Give all lines the same names."
            )
    return {name: _column([item[name] for item in items], name, first_line) for name in names}  # type: ignore[index]


def encode(values: Rows, labels: Labels | None = None) -> bytes:
    """Write one object a row: `{"prediction": ...}`, with `"label"` when there are any.

    A value that is not finite becomes null.
    """
    if not len(values):
        return b""
    json = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)
    rows = json[1:-1].split(b",") if values.ndim == 1 else [b"[" + row + b"]" for row in json[2:-2].split(b"],[")]
    if labels is None:
        return b"".join(b'{"prediction":' + row + b"}\n" for row in rows)
    ends = [b',"label":' + orjson.dumps(label) + b"}\n" for label in labels]
    return b"".join(b'{"prediction":' + row + end for row, end in zip(rows, ends, strict=True))


def _items(data: bytes, first_line: int) -> list[object]:
    data = data.rstrip()
    lines = data.split(b"\n") if data else []
    return [_parse(line, number) for number, line in enumerate(lines, start=first_line)]


def _column(values: list[object], name: str, first_line: int) -> Column:
    if set(map(type, values)) == {str}:
        return values
    array = numeric(values)
    if array is not None:
        return _as_float32(array, name, first_line)
    rows = [numeric(value) for value in values]
    kinds = [_kind(row, value) for row, value in zip(rows, values, strict=True)]
    odd = next((place for place, kind in enumerate(kinds) if not kind or kind != kinds[0]), None)
    if odd is not None:
        raise FormatError(
            f"line {first_line + odd}, {name!r}: {orjson.dumps(values[odd]).decode()[:40]}, expected "
            f"{kinds[0] if odd else 'text, a number or an even list of numbers, for float32'}. Write it as the other "
            f"lines have it, or leave the name out."
        )
    return [_as_float32(row[None], name, first_line + place)[0] for place, row in enumerate(rows) if row is not None]


def _kind(row: NDArray[Any] | None, value: object) -> str:
    """What a value is, in words; empty for what no column holds."""
    if row is None:
        return "text" if isinstance(value, str) else ""
    what = "true or false" if row.dtype == np.bool_ else "a number"
    return what if row.ndim == 0 else f"a list, {row.ndim} deep, of {what}"


def _as_float32(array: NDArray[Any], name: str, first_line: int) -> NDArray[Any]:
    if array.dtype == np.int64:
        large = ((array > _EXACT) | (array < -_EXACT)).reshape(len(array), -1).any(axis=1)
        if large.any():
            raise FormatError(
                f"line {first_line + int(large.argmax())}, {name!r}: a whole number beyond {_EXACT}, which float32 "
                f"cannot hold exactly. Write it as text."
            )
    return array if array.dtype == np.bool_ else to_float32(array)


def _parse(line: bytes, number: int) -> object:
    try:
        value: object = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if not line.strip():
            raise FormatError(f"line {number} is empty, expected one JSON value. Remove the empty line.") from error
        raise FormatError(
            f"line {number} is no JSON: {error}. Expected one row a line, such as [0.5, 1, 2], without NaN or Infinity."
        ) from error
    return value
