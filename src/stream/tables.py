"""Text and columnar files turned into records that are found by their number, once a host, in the scratch folder.

    columns of numbers      NPY, one structured record of one stride a row
    text, bytes, ragged     JSON Lines, one list a row, behind a line with the kinds of the columns

Parsing text costs a hundred times what a gather costs, and a row of text cannot be found by its number. So a table is
parsed block by block into a file that appears under its name only when it is whole.
"""

import hashlib
import os
import shutil
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson

from ..errors import FormatError, PlatformError
from ..formats import csv, header_csv, jsonl, libsvm, npy, npz, parquet
from ..formats.layout import Buffer, Field, Index, Layout, Sample, Value
from ..formats.sniff import Kind
from .files import File, Maps, gone
from .shards import NUMBERS, Column, Columns

KINDS = frozenset({Kind.CSV, Kind.CSV_HEADER, Kind.LIBSVM, Kind.PARQUET, Kind.JSON_LINES, Kind.NPZ})
"""What is read as a table."""
FIRST_LINE = {Kind.CSV: 1, Kind.CSV_HEADER: 2, Kind.LIBSVM: 1, Kind.JSON_LINES: 1}
"""Line on which the first row stands, where rows are lines."""
_BLOCK_BYTES = 16 << 20
_BATCH_ROWS = 1 << 14
_TEXT, _BYTES = "text", "bytes"


def blocks(kind: Kind, file: File, maps: Maps, *, width: int | None = None) -> Iterator[Columns]:
    """Read a table block by block: columns `[n, ...]` of numbers, lists of text or of arrays of several lengths.

    Args:
        kind: one of `KINDS`, or an array in Fortran order, whose rows do not lie together.
        file: the table.
        maps: maps it.
        width: features of LibSVM, over all files of the channel; by default over this one.

    Raises:
        FormatError: names line or row, and column.
    """
    buffer = maps.map(file)
    if kind is Kind.PARQUET:
        source = parquet.open_file(buffer)
        for number in range(len(source.group_rows)):
            yield from source.batches(number, _BATCH_ROWS)
    elif kind is Kind.NPZ:
        yield from npz.blocks(buffer)
    elif kind is Kind.NPY:
        yield from _array_rows(buffer)
    elif kind is Kind.LIBSVM:
        features = libsvm_width(file) if width is None else width
        for data, line in _lines(file):
            yield from map(dict, libsvm.blocks(data, features, first_line=line))
    elif kind is Kind.JSON_LINES:
        yield from (jsonl.decode_columns(data, first_line=line) for data, line in _lines(file))
    elif kind is Kind.CSV_HEADER:
        yield from _named_rows(file)
    else:
        yield from _plain_rows(file)


def libsvm_width(file: File) -> int:
    """Largest index in a file of LibSVM."""
    return max((libsvm.width_of(data, first_line=line) for data, line in _lines(file)), default=0)


def _array_rows(buffer: Buffer) -> Iterator[Columns]:
    """Rows of an array, copied together."""
    header = npy.read_header(buffer[: npy.PREFIX].tobytes())
    if not header.shape:
        raise FormatError("The array has no axes, expected [rows, ...]. Even a single row needs the first axis.")
    array = np.ndarray(header.shape, header.dtype, buffer, header.offset, order="F" if header.fortran_order else "C")
    rows = max(1, _BLOCK_BYTES // max(array[:1].nbytes, 1))
    for first in range(0, len(array), rows):
        yield {"data": np.ascontiguousarray(array[first : first + rows])}


def _plain_rows(file: File) -> Iterator[Columns]:
    """CSV without a header: the label, then the features."""
    width = None
    for data, line in _lines(file):
        rows = csv.decode(data, first_line=line, columns=width)
        if len(rows):
            width = rows.shape[1]
            yield {"label": rows[:, 0], "features": rows[:, 1:]} if width > 1 else {"label": rows[:, 0]}


def _named_rows(file: File) -> Iterator[Columns]:
    """CSV with a header."""
    names: list[str] | None = None
    text: frozenset[str] = frozenset()
    for data, line in _lines(file):
        rest = data
        if names is None:
            names = header_csv.header(data)
            if names is None:
                raise FormatError("line 1 is no header any more. Expected the file to stay while a job reads it.")
            rest = data.partition(b"\n")[2]
            text = header_csv.text_columns(rest, names)
        yield header_csv.decode(rest, names, text, first_line=max(line, 2))


def _lines(file: File) -> Iterator[tuple[bytes, int]]:
    """Blocks of whole lines, with the number, from 1, of the first line of each."""
    first_line = 1
    try:
        handle = file.path.open("rb")
    except OSError as error:
        raise gone(file.name, error) from error
    with handle:
        while lines := handle.readlines(_BLOCK_BYTES):
            yield b"".join(lines), first_line
            first_line += len(lines)


def variant(kind: Kind, files: Sequence[File]) -> str:
    """Name the way in which the tables of a channel are read; rows of LibSVM are as wide as the widest of all files."""
    if kind is not Kind.LIBSVM:
        return kind.value
    names = "\0".join(cached_name(file, kind.value) for file in files)
    return f"{kind.value} {hashlib.sha256(names.encode()).hexdigest()}"


def cached_name(file: File, variant: str) -> str:
    """Name of what is derived from a file: another path, size, time of change or way of reading is another name."""
    try:
        status = file.path.stat()
    except OSError as error:
        raise gone(file.name, error) from error
    key = f"{file.path.absolute()}\0{status.st_size}\0{status.st_mtime_ns}\0{variant}"
    return hashlib.sha256(key.encode()).hexdigest()[:24]


def derive(kind: Kind, file: File, maps: Maps, target: Path, *, width: int | None = None) -> None:
    """Parse a table into `target`, with the suffix `.npy` or `.jsonl` by what its columns are.

    Raises:
        PlatformError: the disk is too small.
        FormatError: a broken record, or a block with other columns than the first.
    """
    final = target.with_suffix(".npy")
    partial = target.with_suffix(f".{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _check_room(target.parent, file)
        with partial.open("w+b") as out:
            if not _write_records(out, blocks(kind, file, maps, width=width)):
                final = target.with_suffix(".jsonl")
                out.seek(0)
                out.truncate()
                _write_lines(out, blocks(kind, file, maps, width=width))
        partial.replace(final)
    except OSError as error:
        raise PlatformError(
            f"File {file.name}: {error.strerror or error}. Expected it to be readable, and room for its records in "
            f"{target.parent}: choose a larger VolumeSizeInGB, or turn the data into RecordIO or NPY with `prepare`."
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def derived(target: Path) -> Path | None:
    """Return what `derive` has written for a target; None where it has not been there."""
    return next((path for suffix in (".npy", ".jsonl") if (path := target.with_suffix(suffix)).is_file()), None)


def read_layout(path: Path) -> Layout:
    """Lay out the records of a derived `.npy` file."""
    with path.open("rb") as handle:
        np.lib.format.read_magic(handle)
        shape, _, dtype = np.lib.format.read_array_header_2_0(handle)
        start = handle.tell()
    places = {name: (place[0], place[1]) for name, place in (dtype.fields or {}).items()}
    fields = {name: Field(kind.base, kind.shape, offset) for name, (kind, offset) in places.items()}
    return Layout(start, dtype.itemsize, shape[0], fields)


@dataclass(frozen=True, slots=True)
class Lines:
    """What is in a derived `.jsonl` file."""

    index: Index
    _columns: Mapping[str, str]

    @property
    def kinds(self) -> dict[str, str]:
        """What each column holds: text, bytes or numbers."""
        return {name: kind if kind in {_TEXT, _BYTES} else NUMBERS for name, kind in self._columns.items()}

    def decode(self, record: memoryview) -> Sample:
        """Read one row."""
        values = orjson.loads(record)
        return {name: _value(value, kind) for (name, kind), value in zip(self._columns.items(), values, strict=True)}


def read_lines(buffer: Buffer) -> Lines:
    """Find the records of a derived `.jsonl` file."""
    stops = np.flatnonzero(buffer == ord("\n")).astype(np.int64) + 1
    return Lines(Index(stops[:-1], stops[1:]), orjson.loads(buffer[: stops[0]].tobytes()))


def _value(value: Any, kind: str) -> Value:  # noqa: ANN401 - a value of any column
    if kind == _TEXT:
        return str(value)
    return b64decode(value) if kind == _BYTES else np.array(value, dtype=kind)


def _write_records(out: BinaryIO, parts: Iterable[Columns]) -> bool:
    """Write records of one stride; False as soon as a column is text, or of other shapes than before."""
    dtype: np.dtype[Any] | None = None
    rows = 0
    for part in _alike(parts):
        arrays = {name: column for name, column in part.items() if isinstance(column, np.ndarray)}
        found = np.dtype([(name, values.dtype.newbyteorder("<"), values.shape[1:]) for name, values in arrays.items()])
        if dtype is None:
            dtype = found
            _write_header(out, dtype, 0)
        if len(arrays) < len(part) or found != dtype:
            return False
        records = np.empty(len(next(iter(arrays.values()))), dtype=found)
        for name, values in arrays.items():
            records[name] = values
        records.tofile(out)
        rows += len(records)
    out.seek(0)
    _write_header(out, np.dtype([]) if dtype is None else dtype, rows)
    return True


def _write_lines(out: BinaryIO, parts: Iterable[Columns]) -> None:
    """Write the kinds of the columns, then one list a row: values of any length, text, bytes in base 64."""
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
    for number, part in enumerate(_alike(parts)):
        if not number:
            out.write(orjson.dumps(_kinds(part), option=options))
        columns = [column.tolist() if isinstance(column, np.ndarray) else column for column in part.values()]
        rows = zip(*columns, strict=True)
        out.writelines(orjson.dumps([_as_json(value) for value in row], option=options) for row in rows)


def _as_json(value: Any) -> Any:  # noqa: ANN401 - a value of any column
    if isinstance(value, np.ndarray):
        return value.tolist()
    return b64encode(value).decode() if isinstance(value, bytes) else value


def _alike(parts: Iterable[Columns]) -> Iterator[Columns]:
    """Pass parts with rows on, as long as names and kinds of their columns are those of the first one.

    Raises:
        FormatError: names the row.
    """
    first: dict[str, str] | None = None
    rows = 0
    for part in parts:
        count = len(next(iter(part.values()), ()))
        if not count:
            continue
        kinds = _kinds(part)
        first = first or kinds
        if kinds != first:
            raise FormatError(
                f"from row {rows} on the columns are {_listed(kinds)}, before they are {_listed(first)}. Expected the "
                f"same columns from beginning to end."
            )
        rows += count
        yield part


def _kinds(part: Columns) -> dict[str, str]:
    """What each column holds: text, bytes, or numbers of a type."""
    return {name: _kind(column) for name, column in part.items()}


def _kind(column: Column) -> str:
    if isinstance(column, np.ndarray):
        return str(column.dtype.newbyteorder("<").str)
    first = column[0]
    if isinstance(first, np.ndarray):
        return str(first.dtype.newbyteorder("<").str)
    return _BYTES if isinstance(first, bytes) else _TEXT


def _listed(kinds: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in kinds.items())


def _write_header(out: BinaryIO, dtype: np.dtype[Any], rows: int) -> None:
    """Write the header; numpy pads it so that a larger number of rows fits in the same place."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (rows,)}
    np.lib.format.write_array_header_2_0(out, header)


def _check_room(folder: Path, file: File) -> None:
    free = shutil.disk_usage(folder).free
    if file.size > free:
        raise PlatformError(
            f"File {file.name} needs about {file.size:,} bytes in {folder} to be read by row number, {free:,} are "
            f"free. Choose a larger VolumeSizeInGB, or turn the data into RecordIO or NPY once with `prepare`."
        )
