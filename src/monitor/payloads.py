"""Bodies of requests and answers as columns: CSV, JSON, JSON Lines, and all else that the server reads.

Bodies that are alike are parsed together; only where that fails is each looked at by itself, and one that cannot be
read is counted.
"""

import base64
import binascii
import csv as standard
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from pyarrow import csv

from ..baseline.summary import Column
from ..errors import FormatError
from ..formats.rows import Rows as Values
from ..formats.table import CSV, IMAGE, JSON, JSON_LINES, by_media_type
from .capture import Kind

_NAN = ["", "nan", "NaN", "null", "NULL", "None", "NA", "N/A"]
_ROWS = ("instances", "inputs", "predictions")
_BY_ENCODING = {"CSV": CSV, "JSON": JSON}
_NUMBERS = {int, float, bool, type(None)}


@dataclass(frozen=True, slots=True)
class Rows:
    """Values of some rows by place, or by name where bodies have names."""

    columns: Sequence[Column]
    rows: int
    names: Sequence[str] | None = None


class Unreadable(FormatError):
    """A body is not what its content type says."""


IsText = Callable[[int, int], bool | None]
"""Whether the value at a place of a row of a width is text; None where it is not known yet."""


@dataclass(slots=True)
class Reader:
    """Reads bodies."""

    is_text: IsText
    malformed: int = 0
    """Bodies that could not be read."""
    first_malformed: str | None = None

    def read(self, kind: Kind, bodies: Sequence[str]) -> list[Rows]:
        """Read bodies of one kind."""
        try:
            return self._together(kind, bodies)
        except FormatError as error:
            if len(bodies) == 1:
                self.found(f"{kind.content_type or kind.encoding}: {error}")
                return []
        # Halves find what is broken in few steps, and leave what is not together.
        half = len(bodies) // 2
        return [*self.read(kind, bodies[:half]), *self.read(kind, bodies[half:])]

    def found(self, reason: str) -> None:
        """Count a body that is of no use."""
        self.malformed += 1
        self.first_malformed = self.first_malformed or reason

    def _together(self, kind: Kind, bodies: Sequence[str]) -> list[Rows]:
        form = by_media_type(kind.content_type) or _BY_ENCODING.get(kind.encoding)
        if form is None:
            raise Unreadable(f"the content type is {kind.content_type!r}, which nothing here reads.")
        if form is IMAGE:
            raise Unreadable("it is one of the images, whose pixels are no features to monitor one by one.")
        if form in {CSV, JSON, JSON_LINES}:
            texts = [_decoded(body).decode() for body in bodies] if kind.encoding == "BASE64" else bodies
            return [self._csv(texts)] if form is CSV else list(_json(texts, lines=form is JSON_LINES))
        return [_array(form.decode_rows(_decoded(body), None)) for body in bodies]

    def _csv(self, bodies: Sequence[str]) -> Rows:
        content = "\n".join(bodies)
        width = _width(content.lstrip().partition("\n")[0])
        names = [str(place) for place in range(width)]
        known = {name: self.is_text(place, width) for place, name in enumerate(names)}
        types = {name: pa.string() if text else pa.float64() for name, text in known.items() if text is not None}
        data = content.encode()
        try:
            table = _parsed(data, names, types)
        except pa.ArrowInvalid:
            try:
                table = _parsed(data, names, dict.fromkeys(names, pa.string()))
            except pa.ArrowInvalid as error:
                raise Unreadable(f"CSV of {width} values a row: {error}") from error
        return Rows([_column(column) for column in table.columns], table.num_rows)


def _width(line: str) -> int:
    """Values of a line."""
    return len(next(standard.reader([line]))) if '"' in line else line.count(",") + 1


def _parsed(data: bytes, names: list[str], types: dict[str, pa.DataType]) -> pa.Table:
    return csv.read_csv(
        io.BytesIO(data),
        read_options=csv.ReadOptions(use_threads=False, column_names=names, block_size=max(len(data) + 1, 1 << 16)),
        convert_options=csv.ConvertOptions(column_types=types, null_values=_NAN, strings_can_be_null=True),
    )


def _column(values: pa.ChunkedArray) -> Column:
    array = values.combine_chunks()
    if pa.types.is_string(array.type):
        return array
    if pa.types.is_temporal(array.type) or pa.types.is_boolean(array.type):
        return array.cast(pa.string())
    return array.cast(pa.float64()).to_numpy(zero_copy_only=False)


def _decoded(body: str) -> bytes:
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unreadable(f"no base64: {error}") from error


def _array(rows: Values) -> Rows:
    table = rows.reshape(len(rows), -1).T.astype(np.float64)
    return Rows(list(table), len(rows))


def _json(bodies: Sequence[str], *, lines: bool) -> Iterator[Rows]:
    texts = [line for body in bodies for line in body.split("\n") if line.strip()] if lines else bodies
    try:
        values = orjson.loads("[" + ",".join(texts) + "]")
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"no JSON: {error}") from error
    if len(values) != len(texts):
        raise Unreadable("several JSON values in one body.")
    rows = values if lines else [row for value in values for row in _rows_of(value)]
    yield from _tables([_row(row) for row in rows])


def _rows_of(value: object) -> Sequence[object]:
    """Rows of one body; answers of ours have their labels beside them."""
    if isinstance(value, dict):
        key = next((key for key in _ROWS if isinstance(value.get(key), list)), None)
        if key is None:
            return [value]
        labels = value.get("labels")
        if isinstance(labels, list) and len(labels) == len(value[key]):
            return [{"prediction": row, "label": label} for row, label in zip(value[key], labels, strict=True)]
        return list(value[key])
    if isinstance(value, list):
        return value if value and isinstance(value[0], (list, dict)) else [value]
    return [value]


def _row(row: object) -> object:
    """Take the values out of the objects that SageMaker's algorithms accept as a row."""
    if isinstance(row, dict):
        inner = row.get("data", row)
        inner = inner.get("features", inner) if isinstance(inner, dict) else inner
        inner = inner.get("values", inner) if isinstance(inner, dict) else inner
        row = inner if isinstance(inner, list) else row
    if isinstance(row, list):
        return _flat(row)
    return row if isinstance(row, dict) else [row]


def _flat(values: list[object]) -> list[object]:
    while values and any(type(value) is list for value in values):
        values = [part for value in values for part in (value if isinstance(value, list) else [value])]
    return values


def _tables(rows: Sequence[Any]) -> Iterator[Rows]:
    """Group rows of the same names or of the same width."""
    groups: dict[tuple[str, ...] | int, list[Any]] = {}
    for row in rows:
        key = tuple(row) if isinstance(row, dict) else len(row)
        groups.setdefault(key, []).append(row)
    for key, part in groups.items():
        if isinstance(key, tuple):
            named = _named(part)
            yield Rows(list(named.values()), len(part), list(named))
        else:
            yield Rows([_values(column) for column in zip(*part, strict=True)], len(part))


def _named(rows: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
    """Columns of objects; a list of numbers in one becomes columns of its elements."""
    found: dict[str, Column] = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if all(type(value) is list for value in values) and len({len(_flat(value)) for value in values}) == 1:
            columns = zip(*map(_flat, values), strict=True)
            found.update({f"{name}_{place}": _values(column) for place, column in enumerate(columns)})
        else:
            found[name] = _values(values)
    return found


def _values(values: Sequence[object]) -> Column:
    if set(map(type, values)) <= _NUMBERS:
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    texts = [value if value is None or isinstance(value, str) else orjson.dumps(value).decode() for value in values]
    return pa.array(texts, pa.string())
