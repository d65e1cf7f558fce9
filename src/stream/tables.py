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
from ..formats import npy
from ..formats.layout import Buffer, Field, Index, Layout, Sample, Value
from ..formats.sniff import Kind
from .files import File, Maps, gone
from .rows import blocks
from .shards import NUMBERS, Column, Columns

FIRST_LINE = {Kind.CSV: 1, Kind.CSV_HEADER: 2, Kind.LIBSVM: 1, Kind.JSON_LINES: 1}
"""Line on which the first row stands, where rows are lines."""
_SKIPPED = ".skipped.json"
_TEXT, _BYTES = "text", "bytes"


@dataclass(slots=True)
class Skipped:
    """Lines that were left out when a table was derived."""

    count: int = 0
    """Of them, those that were broken and not merely empty."""
    first: str = ""
    """What was wrong with the first of those."""
    shifted: bool = False
    """Whether a row can stand on another line than its number says."""

    def note(self, error: FormatError) -> None:
        """Take note of one more that is broken."""
        self.count += 1
        self.first = self.first or str(error)

    def shift(self) -> None:
        """Take note that some were left out."""
        self.shifted = True


def variant(kind: Kind, files: Sequence[File], *, skip: bool = False, width: int | None = None) -> str:
    """Name the way in which the tables of a channel are read.

    Rows of LibSVM are as wide as is stated, else as the widest of all files.
    """
    name = f"{kind.value} without broken lines" if skip else kind.value
    if kind is not Kind.LIBSVM:
        return name
    if width is not None:
        return f"{name} {width}"
    names = "\0".join(cached_name(file, name) for file in files)
    return f"{name} {hashlib.sha256(names.encode()).hexdigest()}"


def cached_name(file: File, variant: str) -> str:
    """Name of what is derived from a file: another path, size, time of change or way of reading is another name."""
    try:
        status = file.path.stat()
    except OSError as error:
        raise gone(file.name, error) from error
    key = f"{file.path.absolute()}\0{status.st_size}\0{status.st_mtime_ns}\0{variant}"
    return hashlib.sha256(key.encode()).hexdigest()[:24]


def derive(kind: Kind, file: File, maps: Maps, target: Path, *, width: int | None = None, skip: bool = False) -> None:
    """Parse a table into `target`, with the suffix `.npy` or `.jsonl` by what its columns are.

    Broken lines are left out and counted where that is asked for, in a file beside it.

    Raises:
        PlatformError: the disk is too small.
        FormatError: a broken record, or a block with other columns than the first.
    """
    final = target.with_suffix(".npy")
    partial = target.with_suffix(f".{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _check_room(target.parent, file)

        def parts(skipped: Skipped) -> Iterator[Columns]:
            broken = skipped.note if skip else None
            return blocks(kind, file, maps, width=width, broken=broken, shifted=skipped.shift)

        with partial.open("w+b") as out:
            skipped = Skipped()
            if not _write_records(out, parts(skipped)):
                final = target.with_suffix(".jsonl")
                out.seek(0)
                out.truncate()
                skipped = Skipped()
                _write_lines(out, parts(skipped))
        if skipped.shifted:
            target.with_suffix(_SKIPPED).write_bytes(orjson.dumps(skipped))
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


def skipped_of(target: Path) -> Skipped:
    """Read what `derive` has left out."""
    path = target.with_suffix(_SKIPPED)
    return Skipped(**orjson.loads(path.read_bytes())) if path.is_file() else Skipped()


def read_layout(path: Path) -> Layout:
    """Lay out the records of a derived `.npy` file."""
    with path.open("rb") as handle, npy.PARSING:
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
