"""Blocks of records as bytes: where all are of one size, one template filled in many times at once; else one by one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..formats import aialgs, recordio, tfrecord
from ..formats.layout import Field, Layout, Sample
from ..stream.shards import Columns

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class RecordFormat:
    """How records of a format are written and found again."""

    encode: Callable[[Sample], bytes]
    layout: Callable[[memoryview, int], Layout | None]
    splits_at_magic: bool
    """Whether data that holds the magic number is written in parts, so that no template fits it."""


FORMATS = {
    "recordio": RecordFormat(aialgs.encode, aialgs.layout, splits_at_magic=True),
    "tfrecord": RecordFormat(tfrecord.encode, tfrecord.layout, splits_at_magic=False),
}


@dataclass(frozen=True, slots=True)
class Encoded:
    """Records one after the other, framed."""

    content: bytes
    sizes: NDArray[np.int64]
    """Bytes of each record `[n]`."""


class Encoder:
    """Encodes blocks of one dataset."""

    def __init__(self, kind: RecordFormat) -> None:
        self._kind = kind
        self._template: tuple[object, bytes, Layout] | None = None

    def encode(self, columns: Columns) -> Encoded:
        """Encode records.

        Raises:
            FormatError: a value that the format cannot hold, by its name.
        """
        filled = self._fill(columns)
        if filled is not None:
            return Encoded(filled.tobytes(), np.full(len(filled), filled.shape[1], dtype=np.int64))
        records = [self._kind.encode(sample) for sample in samples(columns)]
        return Encoded(b"".join(records), np.array([len(record) for record in records], dtype=np.int64))

    def _fill(self, columns: Columns) -> Bytes | None:
        """Records `[n, stride]` of one template, or None where one would not fit all."""
        arrays = {name: column for name, column in columns.items() if isinstance(column, np.ndarray)}
        if len(arrays) < len(columns) or not arrays:
            return None
        key = tuple((name, column.dtype.str, column.shape[1:]) for name, column in arrays.items())
        if self._template is None or self._template[0] != key:
            first = self._kind.encode(next(samples(columns)))
            layout = self._kind.layout(memoryview(first), len(first))
            if layout is None or layout.stride != len(first):
                return None
            self._template = (key, first, layout)
        _, first, layout = self._template
        places = _matched(layout, list(arrays))
        if places is None:
            return None
        count = len(next(iter(arrays.values())))
        records = np.empty((count, layout.stride), dtype=np.uint8)
        records[:] = np.frombuffer(first, dtype=np.uint8)
        for name, place in places.items():
            content = _content(arrays[name], place)
            if content is None:
                return None
            records[:, place.offset : place.offset + place.size] = content
        _fill_sums(records, layout)
        return None if self._kind.splits_at_magic and _holds_magic(records) else records


def samples(columns: Columns) -> Iterator[dict[str, Any]]:
    """Yield records one by one."""
    names = list(columns)
    for values in zip(*columns.values(), strict=True):
        yield {name: _value(value) for name, value in zip(names, values, strict=True)}


def _value(value: object) -> object:
    return np.asarray(value) if isinstance(value, np.generic) else value


def _matched(layout: Layout, names: list[str]) -> dict[str, Field] | None:
    """Fields of a layout by the names of the columns that they were written from; formats may rename, not reorder."""
    fields = list(layout.fields.items())
    if len(fields) != len(names):
        return None
    return {name: field for name, (_, field) in zip(names, fields, strict=True)}


def _content(column: NDArray[Any], field: Field) -> Bytes | None:
    """Bytes of a field `[n, size]`; None where a value needs another number of bytes than in the template."""
    rows = column.reshape(len(column), -1)
    if rows.shape[1] != field.values:
        return None
    if field.varint:
        return _varints(rows, field)
    if rows.dtype.kind in "iu" and field.dtype.kind in "iu" and rows.dtype != field.dtype:
        return None
    with np.errstate(over="ignore"):
        typed = np.ascontiguousarray(rows, dtype=field.dtype)
    return typed.view(np.uint8).reshape(len(rows), field.size) if typed.size else np.zeros((len(rows), 0), np.uint8)


def _varints(rows: NDArray[Any], field: Field) -> Bytes | None:
    if rows.dtype.kind not in "biu" or field.varint > 8:
        return None
    low = 0 if field.varint == 1 else 1 << 7 * (field.varint - 1)
    high = 1 << 7 * field.varint
    limit = np.iinfo(field.dtype).max
    if rows.size and not low <= int(rows.min()) <= int(rows.max()) <= min(high - 1, limit):
        return None
    values = rows.astype(np.uint64)[:, :, None] >> (np.arange(field.varint, dtype=np.uint64) * np.uint64(7))
    parts = (values & np.uint64(0x7F)).astype(np.uint8)
    parts[:, :, :-1] |= 0x80
    return parts.reshape(len(rows), -1)


def _fill_sums(records: Bytes, layout: Layout) -> None:
    for place, start, stop in layout.checksums:
        covered = np.ascontiguousarray(records[:, start:stop]).reshape(-1)
        view, size = memoryview(covered.tobytes()), stop - start
        value = google_crc32c.value
        sums = np.array(
            [value(bytes(view[at : at + size])) for at in range(0, len(view), size)] if size else [0] * len(records),
            dtype=np.uint64,
        )
        masked = ((sums >> np.uint64(15) | sums << np.uint64(17)) + np.uint64(0xA282EAD8)) & np.uint64(0xFFFFFFFF)
        records[:, place : place + 4] = masked.astype("<u4").view(np.uint8).reshape(-1, 4)


def _holds_magic(records: Bytes) -> bool:
    words = records[:, recordio.HEADER :]
    return bool((np.ascontiguousarray(words).view("<u4") == recordio.MAGIC).any())


def check_columns(columns: Columns) -> int:
    """Count records.

    Raises:
        FormatError: columns of several lengths.
    """
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        raise FormatError(f"columns of {sorted(lengths)} rows, expected as many in each.")
    return lengths.pop() if lengths else 0
