"""Tables as blocks of columns; of text, broken lines are left out where that is asked for, and empty ones always.

An empty line is no row, as pandas, XGBoost's reader and others have it; it is not counted as broken either.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import TypeAlias, TypeVar

import numpy as np

from ..errors import ConfigError, FormatError
from ..formats import csv, header_csv, jsonl, libsvm, npy, npz, parquet
from ..formats.layout import Buffer
from ..formats.sniff import Kind
from ..formats.table import parameter
from .files import File, Maps, gone
from .shards import Columns

KINDS = frozenset({Kind.CSV, Kind.CSV_HEADER, Kind.LIBSVM, Kind.PARQUET, Kind.JSON_LINES, Kind.NPZ})
"""What is read as a table."""
Broken: TypeAlias = Callable[[FormatError], None]
"""Told of a line that is left out."""
_Part = TypeVar("_Part")
_EMPTY_LINE = re.compile(rb"^[ \t\r]*(?:\n|\Z)", re.MULTILINE)
_BLOCK_BYTES = 16 << 20
_BATCH_ROWS = 1 << 14


def blocks(
    kind: Kind,
    file: File,
    maps: Maps,
    *,
    width: int | None = None,
    broken: Broken | None = None,
    shifted: Callable[[], None] = lambda: None,
) -> Iterator[Columns]:
    """Read a table block by block: columns `[n, ...]` of numbers, lists of text or of arrays of several lengths.

    Args:
        kind: a kind of table, or an array in Fortran order, whose rows do not lie together.
        file: the table.
        maps: maps it.
        width: features of LibSVM, over all files of the channel; by default over this one.
        broken: told of each broken line, which is then left out; None stops at the first one.
        shifted: told when lines were left out, so that from there on row and line have different numbers.

    Raises:
        FormatError: names line or row, and column.
    """
    lines = Lines(file, broken or stop, shifted)
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
        features = libsvm_width(file, broken=broken) if width is None else width
        parts = lines.parsed(lambda data, line: list(libsvm.blocks(data, features, first_line=line)))
        yield from map(dict, chain.from_iterable(parts))
    elif kind is Kind.JSON_LINES:
        yield from lines.parsed(_Objects().parse)
    elif kind is Kind.CSV_HEADER:
        yield from _named_rows(lines)
    else:
        yield from lines.parsed(_Plain().parse)


def libsvm_width(file: File, *, broken: Broken | None = None) -> int:
    """Largest index in a file of LibSVM; lines that are broken and left out do not count."""
    lines = Lines(file, stop if broken is None else _silent)
    return max(lines.parsed(lambda data, line: libsvm.width_of(data, first_line=line)), default=0)


def stated_width(content_type: str | None) -> int | None:
    """Width of LibSVM that a content type states, as `text/libsvm; features=300` does; None if it states none.

    Raises:
        ConfigError: a number of features that is not accepted.
    """
    stated = parameter(content_type or "", "features")
    if stated is None:
        return None
    if not (stated.isdecimal() and 1 <= int(stated) <= libsvm.MAX_WIDTH):
        raise ConfigError(
            f"ContentType {content_type!r}: features is {stated!r}. Expected a whole number from 1 to "
            f"{libsvm.MAX_WIDTH:,}: the largest index in any line."
        )
    return int(stated)


def _array_rows(buffer: Buffer) -> Iterator[Columns]:
    """Rows of an array, copied together."""
    header = npy.read_header(buffer[: npy.PREFIX].tobytes())
    if not header.shape:
        raise FormatError("The array has no axes, expected [rows, ...]. Even a single row needs the first axis.")
    array = np.ndarray(header.shape, header.dtype, buffer, header.offset, order="F" if header.fortran_order else "C")
    rows = max(1, _BLOCK_BYTES // max(array[:1].nbytes, 1))
    for first in range(0, len(array), rows):
        yield {"data": np.ascontiguousarray(array[first : first + rows])}


class _Plain:
    """CSV without a header: the label, then the features; as many in each line as in the first one."""

    def __init__(self) -> None:
        self._width: int | None = None

    def parse(self, data: bytes, line: int) -> Columns:
        rows = csv.decode(data, first_line=line, columns=self._width)
        if not len(rows):
            return {}
        width = self._width = rows.shape[1]
        return {"label": rows[:, 0], "features": rows[:, 1:]} if width > 1 else {"label": rows[:, 0]}


class _Objects:
    """JSON Lines: objects of the same names in each line."""

    def __init__(self) -> None:
        self._names: set[str] | None = None

    def parse(self, data: bytes, line: int) -> Columns:
        columns = jsonl.decode_columns(data, first_line=line)
        if not columns:
            return {}
        names = self._names = self._names or set(columns)
        if set(columns) != names:
            raise FormatError(
                f"line {line} has the names {', '.join(columns)[:200]}, expected {', '.join(sorted(names))[:200]} as "
                f"before. Give all lines the same names."
            )
        return dict(columns)


def _named_rows(lines: "Lines") -> Iterator[Columns]:
    """CSV with a header."""
    blocks = lines.blocks()
    head = next(blocks, (b"", 1))[0]
    names = header_csv.header(head)
    if names is None:
        raise FormatError("line 1 is no header any more. Expected the file to stay while a job reads it.")
    first = head.partition(b"\n")[2]
    looked_at = sound(
        lambda data, line: header_csv.text_columns(data, names, first_line=line),
        first,
        2,
        stop if lines.broken is stop else _silent,
    )
    text = header_csv.text_columns(looked_at, names)
    yield from lines.parsed(
        lambda data, line: header_csv.decode(data, names, text, first_line=line), chain([(first, 2)], blocks)
    )


class Lines:
    """A text file in blocks of whole lines."""

    def __init__(self, file: File, broken: Broken, shifted: Callable[[], None] = lambda: None) -> None:
        """Take who is told of broken lines, and of lines that were left out, as `blocks` has them."""
        self.broken = broken
        self._file, self._shifted = file, shifted

    def parsed(
        self, parse: Callable[[bytes, int], _Part], blocks: Iterable[tuple[bytes, int]] | None = None
    ) -> Iterator[_Part]:
        """Parse blocks, by default all of the file, without lines that are empty or broken."""
        for data, line in self.blocks() if blocks is None else blocks:
            try:
                part = parse(data, line)
            except FormatError:
                part = parse(sound(parse, data, line, self.broken), line)
                self._shifted()
            yield part

    def blocks(self) -> Iterator[tuple[bytes, int]]:
        """Blocks of whole lines, with the number, from 1, of the first line of each."""
        first_line, trailing = 1, False
        try:
            handle = self._file.path.open("rb")
        except OSError as error:
            raise gone(self._file.name, error) from error
        with handle:
            while lines := handle.readlines(_BLOCK_BYTES):
                if trailing:
                    self._shifted()
                yield b"".join(lines), first_line
                first_line += len(lines)
                # Whoever parses a block passes over empty lines at its end.
                trailing = lines[-1].isspace()


def sound(parse: Callable[[bytes, int], object], data: bytes, line: int, broken: Broken) -> bytes:
    """Leave out empty lines and broken ones."""
    filled = without_empty(data)
    try:
        parse(filled, line)
    except FormatError:
        return without_empty(_sound(parse, data, line, broken))
    return filled


def without_empty(data: bytes) -> bytes:
    """Leave out empty lines."""
    return _EMPTY_LINE.sub(b"", data)


def stop(error: FormatError) -> None:
    """Leave out nothing that is broken."""
    raise error


def _silent(_error: FormatError) -> None:
    """Leave it out; somebody else tells of it."""


def _sound(parse: Callable[[bytes, int], object], data: bytes, line: int, broken: Broken) -> bytes:
    """Leave out broken lines: a piece is halved until one is found, so that a few among many cost little."""
    try:
        parse(data, line)
    except FormatError as error:
        middle = data.find(b"\n", len(data) // 2, len(data) - 1) + 1 or data.rfind(b"\n", 0, len(data) // 2) + 1
        if not middle:
            broken(error)
            return b""
        first = data[:middle]
        # One after the other: the first line that is sound decides what the others must look like.
        return _sound(parse, first, line, broken) + _sound(parse, data[middle:], line + first.count(b"\n"), broken)
    return data
