"""JSON rows: `{"instances": [[...], ...]}`, `{"inputs": [[...], ...]}` or the bare list of rows.

A row is a list of numbers, nested as the row's shape is, or one of the objects that SageMaker's built-in algorithms
take: `{"features": [...]}`, `{"features": {"values": [...]}}` and either of them under `"data"`.
Source: https://docs.aws.amazon.com/sagemaker/latest/dg/cdf-inference.html (its sparse form is not accepted).

A single flat row is refused rather than guessed at: `[1, 2, 3]` could be three rows of one value.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import orjson

from ..errors import FormatError
from . import json_numbers
from .rows import Labels, Rows, RowShape, count, first_not_finite, to_float32

KEYS = ("instances", "inputs")
"""Names under which an object holds its rows."""

_NUMBERS = {int, float}
_MANY = 2 << 10
"""Bytes from which on a text is read faster without Python's numbers."""
_MAX_AXES = 16


def decode_rows(data: bytes, row_shape: RowShape | None = None) -> Rows:
    """Read rows `[rows, *row_shape]`; without `row_shape` the first row gives it.

    Raises:
        FormatError: names the place, e.g. `instances[3]: 63 values, expected 64`.
    """
    if row_shape is not None and len(data) >= _MANY:
        rows = json_numbers.read_rows(data, KEYS, row_shape)
        if rows is not None:
            return rows
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise FormatError(
            f'The body is no JSON: {error}. Expected {{"instances": [[...], ...]}} in UTF-8, without NaN or Infinity.'
        ) from error
    name = "body"
    if isinstance(body, dict):
        name = next((key for key in KEYS if key in body), "")
        if not name:
            keys = ", ".join(sorted(map(str, body)))[:80] or "none"
            raise FormatError(f'The object has the keys: {keys}. Expected "instances" with a list of rows.')
        body = body[name]
    if not isinstance(body, list):
        raise FormatError(f"{name} is {_shown(body)}, expected a list of rows: [[...], ...].")
    if body and all(type(item) in _NUMBERS for item in body):
        raise FormatError(
            f"{name} is one flat list of {count((len(body),))}, expected a list of rows. Put even a single row in a "
            f"list: [[...]]."
        )
    return rows_of(body, row_shape, lambda index: f"{name}[{index}]")


def encode(values: Rows, labels: Labels | None = None) -> bytes:
    """Write `{"predictions": [...]}`, with `"labels"` when there are any. A value that is not finite becomes null."""
    answer: dict[str, Any] = {"predictions": np.ascontiguousarray(values)}
    if labels is not None:
        answer["labels"] = list(labels)
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def rows_of(items: list[object], row_shape: RowShape | None, place: Callable[[int], str]) -> Rows:
    """Turn parsed rows into `[rows, *row_shape]`, or name the place of the first that does not fit.

    Types and lengths are checked before numpy sees the lists: it would take `"1"`, `true` and `null` for numbers.
    """
    if dict in set(map(type, items)):
        items = [_unwrap(item, place(index)) for index, item in enumerate(items)]
    if row_shape is None:
        row_shape = _shape_of(items[0]) if items else (0,)
    for index, item in enumerate(items):
        _check(item, row_shape, index, place)
    rows = to_float32(items).reshape(len(items), *row_shape)
    where = first_not_finite(rows)
    if where is not None:
        raise FormatError(f"{_place(place(where[0]), where[1:])}: too large for float32. Scale the values down.")
    return rows


def _unwrap(item: object, place: str) -> object:
    """Take the values out of the objects that SageMaker's algorithms accept as a row."""
    if not isinstance(item, dict):
        return item
    row = item.get("data", item)
    row = row.get("features", row) if isinstance(row, dict) else row
    if isinstance(row, dict) and row.get("keys"):
        raise FormatError(f"{place}: a sparse row, expected all values in order. Send them as a list.")
    row = row.get("values", row) if isinstance(row, dict) else row
    if isinstance(row, dict):
        keys = ", ".join(sorted(map(str, item)))[:80] or "none"
        raise FormatError(
            f'{place}: an object with the keys: {keys}. Expected a list of numbers, or {{"features": [...]}}.'
        )
    return row


def _shape_of(item: object) -> RowShape:
    """Shape of a row, by its first elements."""
    shape: list[int] = []
    while isinstance(item, list):
        shape.append(len(item))
        item = item[0] if item else None
        if len(shape) > _MAX_AXES:
            raise FormatError(f"The first row is nested deeper than {_MAX_AXES} lists, expected a list of numbers.")
    return tuple(shape) or (1,)


def _check(row: object, shape: RowShape, index: int, place: Callable[[int], str], path: tuple[int, ...] = ()) -> None:
    """Check one row, or the part of it at `path`, against its shape, from outside to inside."""
    if not isinstance(row, list):
        raise FormatError(f"{_place(place(index), path)}: {_shown(row)}, expected a list of {count(shape)}.")
    if len(row) != shape[0]:
        unit = count((len(row),)) if len(shape) == 1 else f"{len(row)} lists"
        raise FormatError(f"{_place(place(index), path)}: {unit}, expected {shape[0]}.")
    if len(shape) > 1:
        for position, part in enumerate(row):
            _check(part, shape[1:], index, place, (*path, position))
    elif not set(map(type, row)) <= _NUMBERS:
        position = next(position for position, value in enumerate(row) if type(value) not in _NUMBERS)
        raise FormatError(f"{_place(place(index), (*path, position))}: {_shown(row[position])}, expected a number.")


def _place(place: str, path: tuple[int, ...]) -> str:
    return place + "".join(f"[{position}]" for position in path)


def _shown(value: object) -> str:
    """What was found, as the client wrote it, in few words."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    text = orjson.dumps(value).decode()
    return text if len(text) <= 40 else text[:37] + "..."
