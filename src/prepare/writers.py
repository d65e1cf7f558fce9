"""Shards on their way to the disk, one block of records after the other; what is open holds one block."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, FormatError
from ..formats import parquet, tar, webdataset
from ..formats.layout import Field, Index, Layout
from ..stream.shards import Column, Columns
from .encode import FORMATS, Encoder, check_columns, samples

SUFFIXES = {"recordio": "rec", "tfrecord": "tfrecord", "tar": "tar", "parquet": "parquet", "npy": "npy"}
"""Ends of the names of shards, by format."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Where the records of a finished shard lie."""

    records: int
    layout: Layout | None = None
    index: Index | None = None


class Writer(Protocol):
    """Writes one shard to a file that is open for writing and seeking."""

    def write(self, columns: Columns) -> None:
        """Append records."""

    def close(self) -> Shape:
        """Write what comes last; the file itself stays open."""


class RecordWriter:
    """RecordIO-protobuf and TFRecord."""

    def __init__(self, out: BinaryIO, kind: str) -> None:
        self._out, self._kind = out, FORMATS[kind]
        self._encoder = Encoder(self._kind)
        self._sizes: list[NDArray[np.int64]] = []
        self._head = b""

    def write(self, columns: Columns) -> None:
        """Append records."""
        block = self._encoder.encode(columns)
        self._out.write(block.content)
        self._sizes.append(block.sizes)
        if len(self._head) < 1 << 16:
            self._head += block.content[: 1 << 20]

    def close(self) -> Shape:
        """Tell whether all records are of one stride, or else where each lies."""
        sizes = np.concatenate([np.zeros(0, np.int64), *self._sizes])
        stops = np.cumsum(sizes, dtype=np.int64)
        if not len(sizes):
            return Shape(0)
        layout = self._layout(int(stops[-1])) if (sizes == sizes[0]).all() else None
        return Shape(len(sizes), layout, None if layout else Index(stops - sizes, stops))

    def _layout(self, size: int) -> Layout | None:
        found = self._kind.layout(memoryview(self._head), size)
        if found is None:
            return None
        # Integers of a few bytes may look alike in the first records only: look at all of them.
        self._out.flush()
        buffer = np.memmap(self._out, dtype=np.uint8, mode="r")
        return found if found.fits(buffer) else None


class NpyWriter:
    """One structured array: a record is a row of all columns."""

    def __init__(self, out: BinaryIO) -> None:
        self._out, self._records = out, 0
        self._dtype: np.dtype[Any] | None = None

    def write(self, columns: Columns) -> None:
        """Append records.

        Raises:
            DataError: a column that is no array of numbers of one shape.
        """
        dtype = np.dtype([(name, *_fixed(name, column)) for name, column in columns.items()])
        if self._dtype is None:
            self._dtype = dtype
            self._write_header()
        if dtype != self._dtype:
            raise DataError(
                f"Records of {dtype} follow records of {self._dtype}. Expected one type and shape for NPY: choose "
                f"--format recordio or parquet."
            )
        rows = np.empty(check_columns(columns), dtype=dtype)
        for name, column in columns.items():
            rows[name] = column
        self._out.write(rows.tobytes())
        self._records += len(rows)

    def close(self) -> Shape:
        """Write the number of records into the header."""
        if self._dtype is None:
            return Shape(0)
        self._out.seek(0)
        self._write_header()
        offset = self._out.tell()
        self._out.seek(0, 2)
        fields = {
            name: Field(place[0].base, place[0].shape, place[1]) for name, place in (self._dtype.fields or {}).items()
        }
        return Shape(self._records, Layout(offset, self._dtype.itemsize, self._records, fields))

    def _write_header(self) -> None:
        """Write the header; numpy pads it so that a larger number of rows fits in the same place."""
        descr = np.lib.format.dtype_to_descr(self._dtype or np.dtype("u1"))
        header = {"descr": descr, "fortran_order": False, "shape": (self._records,)}
        np.lib.format.write_array_header_2_0(self._out, header)


class TarWriter:
    """An archive of samples."""

    def __init__(self, out: BinaryIO) -> None:
        self._out, self._records = out, 0

    def write(self, columns: Columns) -> None:
        """Append records; `__key__` names them."""
        for sample in samples(columns):
            self._out.write(webdataset.encode(sample))
            self._records += 1

    def close(self) -> Shape:
        """Write the end mark."""
        if self._records:
            self._out.write(tar.END)
        return Shape(self._records)


class ParquetWriter:
    """Columns, a row group a block."""

    def __init__(self, out: BinaryIO) -> None:
        self._writer, self._records = parquet.Writer(out), 0

    def write(self, columns: Columns) -> None:
        """Append records."""
        self._writer.write(columns)
        self._records += check_columns(columns)

    def close(self) -> Shape:
        """Write the end of the file."""
        self._writer.close()
        return Shape(self._records)


def _fixed(name: str, column: Column) -> tuple[str, tuple[int, ...]]:
    if not isinstance(column, np.ndarray) or column.dtype.kind not in "biuf":
        raise DataError(
            f"{name!r} holds text, bytes or arrays of several shapes. Expected numbers of one shape for NPY: choose "
            f"--format recordio, tfrecord or parquet."
        )
    return column.dtype.newbyteorder("<").str, column.shape[1:]


_WRITERS: dict[str, Callable[[BinaryIO], Writer]] = {
    "recordio": lambda out: RecordWriter(out, "recordio"),
    "tfrecord": lambda out: RecordWriter(out, "tfrecord"),
    "tar": TarWriter,
    "parquet": ParquetWriter,
    "npy": NpyWriter,
}


def open_writer(kind: str, out: BinaryIO) -> Writer:
    """Start a shard of a format.

    Raises:
        FormatError: no such format.
    """
    if kind not in _WRITERS:
        raise FormatError(f"{kind!r} is no format that is written, expected {', '.join(_WRITERS)}.")
    return _WRITERS[kind](out)
