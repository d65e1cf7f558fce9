"""Parquet: columns of numbers, vectors, text or bytes, a row group at a time.

Numbers and booleans become arrays `[rows]`; lists of numbers of one length `[rows, length]`, of several lengths a list
of arrays; tensors of fixed shape `[rows, *shape]`; text and bytes lists. A struct with a field `bytes`, which is how
Hugging Face writes images, stands for these bytes. A null is refused with its row: no model here knows what it means.

Checksums of pages are written, and checked where a file has them.

The caller hands in bytes or an open file; memory holds one row group's chosen columns at most.
Source: https://parquet.apache.org/docs/file-format, and pyarrow's reader.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..errors import FormatError
from .rows import Column, Columns

MAGIC = b"PAR1"
MAX_GROUP_BYTES = 1 << 32
"""Largest row group read, uncompressed and by what the file says of itself."""

_SHAPE = b"twofold.shape"
_FAULTS = (pa.ArrowException, OSError, ValueError, TypeError, MemoryError, OverflowError)
_ADVICE = "Write numbers, lists of numbers, text or bytes, or leave the column out."


@dataclass(frozen=True, slots=True)
class Parquet:
    """An open file."""

    file: pq.ParquetFile
    """Its reader."""
    group_rows: tuple[int, ...]
    """Rows of each row group."""
    columns: tuple[str, ...]
    """Names of the columns, in the file's order."""

    @property
    def rows(self) -> int:
        """Rows in all groups."""
        return sum(self.group_rows)

    def group(self, number: int, columns: Sequence[str] | None = None) -> Columns:
        """Read a whole row group, or the chosen columns of it.

        Raises:
            FormatError: broken, a null, a type that no model takes; names column and row, from 0 in the file.
        """
        return _joined(list(self.batches(number, max(1, self.group_rows[number]), columns)))

    def batches(self, number: int, rows: int, columns: Sequence[str] | None = None) -> Iterator[Columns]:
        """Read a row group in batches of `rows`, the last one shorter; raises as `group`."""
        names = _chosen(self.columns, columns)
        first = sum(self.group_rows[:number])
        try:
            for batch in self.file.iter_batches(batch_size=rows, row_groups=[number], columns=names, use_threads=False):
                yield {
                    field.name: _column(batch.column(place), field, first) for place, field in enumerate(batch.schema)
                }
                first += batch.num_rows
        except FormatError:
            raise
        except _FAULTS as error:
            raise FormatError(
                f"row {first} or after: {_first_line(error)}. The file is broken: write it anew."
            ) from error


def open_file(source: BinaryIO | bytes | memoryview | NDArray[np.uint8]) -> Parquet:
    """Read the end of a file, which says where everything is.

    Args:
        source: the whole file as a buffer, e.g. a memory map, which is not copied, or a file open for reading.

    Raises:
        FormatError: no Parquet, cut short, encrypted, or a row group that is too large.
    """
    try:
        handle = source if hasattr(source, "read") else pa.BufferReader(pa.py_buffer(source))
        file = pq.ParquetFile(handle, pre_buffer=False, page_checksum_verification=True)
        metadata, schema = file.metadata, file.schema_arrow
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    except _FAULTS as error:
        raise FormatError(
            f"No readable Parquet: {_first_line(error)}. It is cut short or something else: its end says where all is."
        ) from error
    for number, group in enumerate(groups):
        if not 0 <= group.total_byte_size <= MAX_GROUP_BYTES or group.num_rows < 0:
            raise FormatError(
                f"row group {number} has {group.num_rows} rows and {group.total_byte_size} bytes, expected at most "
                f"{MAX_GROUP_BYTES} bytes. Write smaller row groups."
            )
    if len(set(schema.names)) < len(schema.names):
        raise FormatError(f"Two columns have the same name: {', '.join(schema.names)[:200]}. Give each its own.")
    return Parquet(file, tuple(group.num_rows for group in groups), tuple(schema.names))


class Writer:
    """Writes columns to an open file, one row group for each call of `write`."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self._writer: pq.ParquetWriter | None = None

    def write(self, columns: Mapping[str, Column]) -> None:
        """Append rows; the first call sets names, types and shapes.

        Raises:
            FormatError: columns unlike those before, or of several lengths.
        """
        try:
            fields = [_field(name, column) for name, column in columns.items()]
            batch = pa.record_batch([array for _, array in fields], schema=pa.schema([field for field, _ in fields]))
            if self._writer is None:
                text = [field.name for field, _ in fields if pa.types.is_string(field.type)]
                self._writer = pq.ParquetWriter(
                    self._sink, batch.schema, compression="snappy", use_dictionary=text, write_page_checksum=True
                )
            self._writer.write_batch(batch, row_group_size=max(1, batch.num_rows))
        except _FAULTS as error:
            raise FormatError(f"Columns that do not fit the file: {_first_line(error)}.") from error

    def close(self) -> None:
        """Write the end of the file, without which nothing in it can be read."""
        if self._writer is not None:
            self._writer.close()


def _chosen(present: tuple[str, ...], columns: Sequence[str] | None) -> list[str] | None:
    missing = [name for name in columns or () if name not in present]
    if missing:
        raise FormatError(
            f"no column {missing[0]!r}; the file has: {', '.join(present)[:200]}. Correct the name of the column."
        )
    return None if columns is None else list(columns)


def _column(array: pa.Array, field: pa.Field, first: int) -> Column:
    """One column of a batch; `first` is the row of the file that it starts with."""
    name = field.name
    array = _plain(array, name, first)
    kind = array.type
    if pa.types.is_fixed_size_binary(kind) and _SHAPE in (field.metadata or {}):
        return _pixels(array, field.metadata[_SHAPE])
    if isinstance(kind, pa.FixedShapeTensorType):
        _refuse_nulls(array.storage.flatten(), name, first, kind.shape)
        return np.array(array.to_numpy_ndarray())
    if _is_number(kind):
        return _numbers(array)
    if _is_text(kind):
        return list(array.to_pylist())
    if _is_list(kind) and _is_number(kind.value_type):
        return _lists(array, name, first)
    raise FormatError(f"column {name!r} holds {kind}, which no model takes. {_ADVICE}")


def _plain(array: pa.Array, name: str, first: int) -> pa.Array:
    """A column without dictionary, extension type or struct around its values; no layer of it may hold a null."""
    while True:
        _refuse_nulls(array, name, first)
        kind = array.type
        if pa.types.is_dictionary(kind):
            array = array.dictionary_decode()
        elif pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            array = array.field("bytes")
        elif isinstance(array, pa.ExtensionArray) and not isinstance(kind, pa.FixedShapeTensorType):
            array = array.storage
        else:
            return array


def _lists(array: pa.Array, name: str, first: int) -> Column:
    kind = array.type
    values = array.flatten()
    if pa.types.is_fixed_size_list(kind):
        _refuse_nulls(values, name, first, [kind.list_size])
        return _numbers(values).reshape(len(array), kind.list_size)
    lengths = np.asarray(array.value_lengths())
    stops = np.cumsum(lengths)
    if values.null_count:
        place = int(np.flatnonzero(np.asarray(values.is_null()))[0])
        raise FormatError(_null(name, first + int(np.searchsorted(stops, place, side="right")), " inside"))
    numbers = _numbers(values)
    if len(lengths) and (lengths == lengths[0]).all():
        return numbers.reshape(len(lengths), int(lengths[0]))
    return np.split(numbers, stops[:-1]) if len(lengths) else []


def _numbers(array: pa.Array) -> NDArray[Any]:
    """Values that may be written to, as those of every other format."""
    return np.array(array.to_numpy(zero_copy_only=False))


def _refuse_nulls(array: pa.Array, name: str, first: int, shape: Sequence[int] = ()) -> None:
    if array.null_count:
        place = int(np.flatnonzero(np.asarray(array.is_null()))[0])
        raise FormatError(_null(name, first + place // max(1, int(np.prod(shape))), " inside" if shape else ""))


def _null(name: str, row: int, inside: str) -> str:
    return f"row {row}, column {name!r}: found a null{inside}, expected a value. Fill it in or leave the row out."


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_text(kind: pa.DataType) -> bool:
    tests = ("string", "large_string", "string_view", "binary", "large_binary", "binary_view", "fixed_size_binary")
    return any(getattr(pa.types, f"is_{test}")(kind) for test in tests)


def _joined(parts: list[Columns]) -> Columns:
    """Batches of one row group as one; Arrow cuts a group where its text grows beyond what one batch can hold."""
    if len(parts) < 2:
        return parts[0] if parts else {}
    joined: Columns = {}
    for name in parts[0]:
        columns = [part[name] for part in parts]
        even = len({column.shape[1:] if isinstance(column, np.ndarray) else None for column in columns}) == 1
        if even and isinstance(columns[0], np.ndarray):
            joined[name] = np.concatenate(columns)
        else:
            joined[name] = [value for column in columns for value in column]
    return joined


def _field(name: str, column: Column) -> tuple[pa.Field, pa.Array]:
    """A column as Arrow has it: vectors as lists of fixed size, bytes of several axes as binary of fixed size.

    Parquet would store each byte as a number of 32 bits and take fifty times as long; the shape stands beside the type.
    """
    if not isinstance(column, np.ndarray) or column.ndim == 1:
        array = pa.array(column)
        return pa.field(name, array.type, nullable=False), array
    rows, shape = len(column), column.shape[1:]
    flat = np.ascontiguousarray(column).reshape(-1)
    if column.dtype == np.uint8:
        kind = pa.binary(int(np.prod(shape)))
        shown = {_SHAPE: ",".join(map(str, shape)).encode()}
        return pa.field(name, kind, False, shown), pa.Array.from_buffers(kind, rows, [None, pa.py_buffer(flat)])
    if column.ndim == 2:
        array = pa.FixedSizeListArray.from_arrays(pa.array(flat), shape[0])
    else:
        array = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(column))
    return pa.field(name, array.type, nullable=False), array


def _pixels(array: pa.Array, shape: bytes) -> NDArray[np.uint8]:
    """Bytes of fixed size as the array that `_field` made them of."""
    axes = [int(axis) for axis in shape.split(b",")]
    width = array.type.byte_width
    if int(np.prod(axes)) != width:
        raise FormatError(f"rows of {width} bytes claim the shape {axes}. The file is broken: write it anew.")
    values = np.frombuffer(array.buffers()[1], np.uint8, len(array) * width, array.offset * width)
    return values.reshape(len(array), *axes).copy()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")[:200]
