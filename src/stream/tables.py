"""Text and columnar files turned into records that are found by their number, once a host, in the scratch folder.

    columns of numbers      NPY, one structured record of one stride a row
    text, ragged lists      JSON Lines, one object a row

Parsing text costs a hundred times what a gather costs, and a row of text cannot be found by its number. So a table is
parsed block by block into a file that appears under its name only when it is whole.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson

from ..errors import FormatError, PlatformError
from ..formats import csv, header_csv, jsonl, libsvm, npz, parquet
from ..formats.layout import Buffer, Field, Index, Layout, Sample
from ..formats.sniff import Kind
from .files import File, Maps
from .shards import Columns

KINDS = frozenset({Kind.CSV, Kind.CSV_HEADER, Kind.LIBSVM, Kind.PARQUET, Kind.JSON_LINES, Kind.NPZ})
"""What is read as a table."""
FIRST_LINE = {Kind.CSV: 1, Kind.CSV_HEADER: 2, Kind.LIBSVM: 1, Kind.JSON_LINES: 1}
"""Line on which the first row stands, where rows are lines."""
_BLOCK_BYTES = 16 << 20
_BATCH_ROWS = 1 << 14


def blocks(kind: Kind, file: File, maps: Maps) -> Iterator[Columns]:
    """Read a table block by block: columns `[n, ...]` of numbers, lists of text or of arrays of several lengths.

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
    elif kind is Kind.LIBSVM:
        width = max((libsvm.width_of(data, first_line=line) for data, line in _lines(file)), default=0)
        for data, line in _lines(file):
            for block in libsvm.blocks(data, width, first_line=line):
                yield {**block}
    elif kind is Kind.JSON_LINES:
        yield from (jsonl.decode_columns(data, first_line=line) for data, line in _lines(file))
    elif kind is Kind.CSV_HEADER:
        yield from _named_rows(file)
    else:
        yield from _plain_rows(file)


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
    with file.path.open("rb") as handle:
        while lines := handle.readlines(_BLOCK_BYTES):
            yield b"".join(lines), first_line
            first_line += len(lines)


def cached_name(file: File, variant: str) -> str:
    """Name of what is derived from a file: another path, size, time of change or way of reading is another name."""
    status = file.path.stat()
    key = f"{file.path.absolute()}\0{status.st_size}\0{status.st_mtime_ns}\0{variant}"
    return hashlib.sha256(key.encode()).hexdigest()[:24]


def derive(kind: Kind, file: File, maps: Maps, target: Path) -> None:
    """Parse a table into `target`, with the suffix `.npy` or `.jsonl` by what its columns are.

    Raises:
        PlatformError: the disk is too small.
        FormatError: a broken record, or a block with other columns than the first.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _check_room(target.parent, file)
    parts = (part for part in blocks(kind, file, maps) if part)
    first = next(parts, {})
    even = all(isinstance(column, np.ndarray) for column in first.values())
    final = target.with_suffix(".npy" if even else ".jsonl")
    partial = target.with_suffix(f".{os.getpid()}.partial")
    try:
        with partial.open("wb") as out:
            (_write_records if even else _write_lines)(out, chain([first], parts))
        partial.replace(final)
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


def line_index(buffer: Buffer) -> Index:
    """Find the lines of a derived `.jsonl` file."""
    stops = np.flatnonzero(buffer == ord("\n")) + 1
    return Index(np.concatenate([[0], stops[:-1]]).astype(np.int64), stops.astype(np.int64))


def decode_line(record: memoryview) -> Sample:
    """Read one object of a derived `.jsonl` file."""
    return {name: column[0] for name, column in jsonl.decode_columns(bytes(record)).items()}


def _write_records(out: BinaryIO, parts: Iterable[Columns]) -> None:
    dtype: np.dtype[Any] | None = None
    rows = 0
    for part in parts:
        arrays = {name: np.asarray(column) for name, column in part.items()}
        found = np.dtype([(name, values.dtype.newbyteorder("<"), values.shape[1:]) for name, values in arrays.items()])
        if dtype is None:
            dtype = found
            _write_header(out, dtype, 0)
        elif found != dtype:
            raise FormatError(f"from row {rows + 1} on the columns are {found}, before {dtype}.")
        records = np.empty(len(next(iter(arrays.values()), ())), dtype=dtype)
        for name, values in arrays.items():
            records[name] = values
        records.tofile(out)
        rows += len(records)
    out.seek(0)
    _write_header(out, np.dtype([]) if dtype is None else dtype, rows)


def _write_lines(out: BinaryIO, parts: Iterable[Columns]) -> None:
    for part in parts:
        columns = [column.tolist() if isinstance(column, np.ndarray) else column for column in part.values()]
        for values in zip(*columns, strict=True):
            line = {name: _as_json(value) for name, value in zip(part, values, strict=True)}
            out.write(orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE))


def _as_json(value: Any) -> Any:  # noqa: ANN401 - a value of any column
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


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
