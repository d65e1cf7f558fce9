"""One file of records, or one folder of images, that records are read from by number."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from itertools import chain
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, FormatError
from ..formats.layout import Index, Layout, Sample
from .canvas import Canvas
from .files import File, Maps
from .plan import Positions

Column: TypeAlias = NDArray[Any] | list[Any]
Columns: TypeAlias = dict[str, Column]
"""A batch: `[n, ...]` of each field, or a list where the values of a field differ in shape or are no numbers."""
Read: TypeAlias = tuple[Columns, Positions | None]
"""Columns, and which places of the request they are for: None for all of them."""

_Record = TypeVar("_Record")
_Found = TypeVar("_Found")
_CHECKED_BYTES, _CHECKED = (1 << 16, 1 << 18), 64
"""What is checked at a time: the first number of bytes, or this number of records if they fit into the second.

Somebody waits for the first batch, of which each record may lie elsewhere; and a call costs as much as many records.
"""
_PIECE = 8
"""Records that a thread decodes at a time: handing over one by one costs more than a small image."""


class Shard(Protocol):
    """Records by number."""

    name: str
    """What messages call it."""
    records: int
    record_bytes: float
    """Mean size of a decoded record: what reading ahead costs."""
    first_line: int | None
    """Line of the file on which record 0 stands, where records are lines."""

    def read(self, rows: Positions, bad: "BadRecords") -> Read:
        """Read records `[n]`; broken ones that are skipped are missing from the columns."""


class BadRecords:
    """What to do with a broken record: stop, or skip it and count; shared by the threads of a loader."""

    def __init__(self, channel: str, *, skip: bool = False) -> None:
        self.skipped = 0
        self.first: str | None = None
        """Message of the first one that was skipped."""
        self.channel, self.skips = channel, skip
        self._seen: set[tuple[str, int]] = set()
        self._lock = threading.Lock()

    def found(self, file: str, error: FormatError, row: int | None = None, *, count: int = 1) -> None:
        """Take note of one, or of several by the first of them; whose `row` is known is not counted again.

        Raises:
            DataError: names channel and file, unless broken records are skipped.
        """
        message = f"Channel {self.channel!r}, file {file}: {error}"
        if not self.skips:
            raise DataError(message) from error
        with self._lock:
            known = row is not None and (file, row) in self._seen
            self.skipped += 0 if known else count
            self.first = self.first or message
            if row is not None:
                self._seen.add((file, row))


NUMBERS = "numbers"
"""What a field holds that is neither text nor bytes."""


class LayoutShard:
    """Records of one stride: a batch is one gather from the map. Structure is checked once, just ahead of use."""

    def __init__(
        self, file: File, layout: Layout, maps: Maps, *, checksums: bool = True, first_line: int | None = None
    ) -> None:
        self.name, self.records = file.name, layout.records
        self.record_bytes, self.first_line = float(layout.stride), first_line
        self.shapes = {name: field.shape for name, field in layout.fields.items()}
        """Shape of each field in one record."""
        self.dtypes = {name: field.dtype.newbyteorder("=") for name, field in layout.fields.items()}
        """Type of each field as it is read."""
        self.kinds = dict.fromkeys(self.shapes, NUMBERS)
        self.layout = layout
        self._file, self._maps, self._sound = file, maps, False
        self._checksums, self.casts = checksums, False
        few, many = (size // max(layout.stride, 1) for size in _CHECKED_BYTES)
        self._chunk = max(min(max(few, _CHECKED), many), 1)
        self._checked = np.zeros(-(-layout.records // self._chunk), dtype=bool)
        self._lock = threading.Lock()

    def cast(self, dtypes: Mapping[str, np.dtype[Any]]) -> None:
        """Give fields as other types from now on."""
        self.casts = dtypes != self.dtypes
        self.dtypes = dict(dtypes)

    @property
    def sound(self) -> bool:
        """Whether all records have been checked, or there is nothing to check."""
        return self._sound or not (self.layout.fixed or self.layout.checksums)

    def gathers_like(self, other: "LayoutShard") -> bool:
        """Whether the same gather takes records of both."""
        mine, its = self.layout, other.layout
        same = (mine.offset, mine.stride, mine.fields) == (its.offset, its.stride, its.fields)
        return same and not self.casts and not other.casts

    def buffer(self) -> NDArray[np.uint8]:
        """Return the bytes of the shard."""
        return self._maps.map(self._file)

    def read(self, rows: Positions, bad: BadRecords) -> Read:
        """Gather records `[n]`."""
        buffer = self.buffer()
        broken = [] if self.sound else self.check(buffer, rows, bad)
        if not broken:
            return self._gather(buffer, rows), None
        kept = np.delete(np.arange(len(rows)), broken)
        return self._gather(buffer, rows[kept]), kept

    def _gather(self, buffer: NDArray[np.uint8], rows: Positions) -> Columns:
        columns = self.layout.gather(buffer, rows)
        if self.casts:
            return {name: column.astype(self.dtypes[name], copy=False) for name, column in columns.items()}
        return dict(columns)

    def check(self, buffer: NDArray[np.uint8], rows: Positions, bad: BadRecords) -> list[int]:
        """Check what has not been checked yet and return the places of broken rows."""
        broken: list[int] = []
        chunks = np.zeros(len(self._checked), dtype=bool)
        chunks[rows // self._chunk] = True
        # Blocks that are read side by side are of the same chunks: who comes second finds them checked.
        with self._lock:
            chunks &= ~self._checked
            # Neighbours at once.
            borders = np.flatnonzero(np.diff(chunks, prepend=False, append=False)).tolist()
            for first, last in zip(borders[::2], borders[1::2], strict=True):
                for chunk in () if self._check_chunks(buffer, first, last) else range(first, last):
                    if not self._check_chunks(buffer, chunk, chunk + 1):
                        # Somewhere in these rows: look at each that is asked for, since the others may never be.
                        broken += self._broken_among(buffer, rows, np.flatnonzero(rows // self._chunk == chunk), bad)
            self._sound = bool(self._checked.all())
        return broken

    def _check_chunks(self, buffer: NDArray[np.uint8], first: int, last: int) -> bool:
        """Check chunks [first, last); False where one of them is broken."""
        rows = range(first * self._chunk, min(last * self._chunk, self.records))
        try:
            self.layout.verify(buffer, rows.start, rows.stop, checksums=self._checksums)
        except FormatError:
            return False
        self._checked[first:last] = True
        return True

    def _broken_among(
        self, buffer: NDArray[np.uint8], rows: Positions, suspects: Positions, bad: BadRecords
    ) -> list[int]:
        broken = []
        for place in suspects.tolist():
            try:
                self.layout.verify(buffer, int(rows[place]), int(rows[place]) + 1, checksums=self._checksums)
            except FormatError as error:
                bad.found(self.name, error, int(rows[place]))
                broken.append(place)
        return broken


class IndexedShard:
    """Records of any size, decoded one by one."""

    def __init__(
        self,
        file: File,
        maps: Maps,
        index: Index | Callable[[], Index],
        decode: Callable[[memoryview], Sample],
        *,
        records: int | None = None,
        kinds: Mapping[str, str] | None = None,
        first_line: int | None = None,
    ) -> None:
        """Take where records lie, or, where their number is known, what finds it out at the first use."""
        self.name, self.first_line, self.kinds = file.name, first_line, kinds
        self._file, self._maps, self._decode = file, maps, decode
        self._lock = threading.Lock()
        self._index = index
        self.records = len(self._records()) if records is None else records
        self.record_bytes = file.size / max(self.records, 1)

    def read(self, rows: Positions, bad: BadRecords) -> Read:
        """Decode records `[n]`."""
        index, view = found_late(self._records, self.name, bad), memoryview(self._maps.map(self._file))  # type: ignore[arg-type]
        starts, stops = index.starts[rows].tolist(), index.stops[rows].tolist()

        def decode(place: int) -> Sample:
            try:
                return self._decode(view[starts[place] : stops[place]])
            except FormatError as error:
                raise FormatError(f"{self._place(int(rows[place]), starts[place])}: {error}") from error

        return read_samples(range(len(rows)), decode, self.name, None, bad, rows=rows)

    def _place(self, row: int, start: int) -> str:
        return f"record {row} at byte {start}" if self.first_line is None else f"line {self.first_line + row}"

    def _records(self) -> Index:
        with self._lock:
            if not isinstance(self._index, Index):
                self._index = self._index()
            return self._index


def found_late(find: Callable[[], _Found], file: str, bad: BadRecords) -> _Found:
    """Find records at the first use of a file.

    Raises:
        DataError: the file's structure is broken, so that no record can be told from the others.
    """
    try:
        return find()
    except FormatError as error:
        raise DataError(f"Channel {bad.channel!r}, file {file}: {error}") from error


def read_samples(
    records: Sequence[_Record],
    decode: Callable[[_Record], Sample],
    file: str | Sequence[str],
    threads: Executor | None,
    bad: BadRecords,
    *,
    rows: Positions | None = None,
    canvas: Canvas | None = None,
) -> Read:
    """Decode records in order and put their fields into columns.

    Args:
        records: what `decode` takes.
        decode: decodes one; raises FormatError.
        file: name of the file, or of the file of each record, for messages.
        threads: where decoding lets other threads run, as that of images does; for anything else they only cost.
        bad: told of broken records.
        rows: their numbers in the file `[n]`.
        canvas: what `decode` puts images on.
    """

    def attempt(record: _Record) -> Sample | FormatError:
        try:
            return decode(record)
        except FormatError as error:
            return error

    def attempt_all(piece: Sequence[_Record]) -> list[Sample | FormatError]:
        return [attempt(record) for record in piece]

    pieces = [records[start : start + _PIECE] for start in range(0, len(records), _PIECE)]
    done = chain.from_iterable(threads.map(attempt_all, pieces) if threads else map(attempt_all, pieces))
    samples, kept = [], []
    for place, result in enumerate(done):
        if isinstance(result, FormatError):
            name = file if isinstance(file, str) else file[place]
            bad.found(name, result, None if rows is None else int(rows[place]))
        else:
            samples.append(result)
            kept.append(place)
    name = file if isinstance(file, str) else file[0] if file else ""
    there = None if len(kept) == len(records) else np.array(kept, dtype=np.int64)
    return collate(samples, name, bad.channel, canvas), there


def collate(samples: list[Sample], file: str, channel: str | None = None, canvas: Canvas | None = None) -> Columns:
    """Put samples into columns: arrays of one shape and type are stacked, everything else becomes a list.

    Images that already stand on one canvas are not copied.

    Raises:
        DataError: samples that do not have the same fields.
    """
    if not samples:
        return {}
    names = samples[0].keys()
    for sample in samples:
        if sample.keys() != names:
            where = f"Channel {channel!r}, file {file}" if channel else f"File {file}"
            raise DataError(
                f"{where}: one sample has the fields {', '.join(names)}, another {', '.join(sample)}. Expected the "
                f"same fields in every sample of a channel."
            )
    return {name: _column([sample[name] for sample in samples], canvas) for name in names}


def _column(values: list[Any], canvas: Canvas | None) -> Column:
    first = values[0]
    whole = canvas.column(values) if canvas and isinstance(first, np.ndarray) else None
    if whole is not None:
        return whole
    if isinstance(first, (int, float, np.number)):
        return np.asarray(values)
    if isinstance(first, np.ndarray) and all(
        isinstance(value, np.ndarray) and value.shape == first.shape and value.dtype == first.dtype for value in values
    ):
        return np.stack(values)
    return values


def alike(shards: list[Shard], channel: str) -> list[Shard]:
    """Check that shards of which it is known have the same fields; numbers of several types become one for all.

    Raises:
        DataError: other fields or shapes; names both files.
    """
    even = [shard for shard in shards if isinstance(shard, LayoutShard)]
    known = [shard for shard in shards if isinstance(shard, LayoutShard | IndexedShard)]
    kinds = [(shard.name, shard.kinds) for shard in known if shard.kinds]
    shapes = [(shard.name, shard.shapes) for shard in even]
    for found in (kinds, shapes):
        _check_equal(found, channel)
    if any(shard.dtypes != even[0].dtypes for shard in even):
        common = {name: np.result_type(*(shard.dtypes[name] for shard in even)) for name in even[0].dtypes}
        for shard in even:
            shard.cast(common)
    return shards


def _check_equal(found: Sequence[tuple[str, Mapping[str, object]]], channel: str) -> None:
    """Compare what files have with what the first one has."""
    for name, fields in found:
        first_name, first = found[0]
        if fields != first:
            raise DataError(
                f"Channel {channel!r}: file {name} has {_described(fields)}, file {first_name} has "
                f"{_described(first)}. Expected the same fields of the same shapes in all files of a channel."
            )


def _described(fields: Mapping[str, object]) -> str:
    return ", ".join(
        f"{name} {list(value)}" if isinstance(value, tuple) else f"{name} ({value})" for name, value in fields.items()
    )


def join(parts: Sequence[tuple[Positions, Columns]], total: int) -> Columns:
    """Put what several shards have read back into one order.

    Args:
        parts: of each shard, places `[m]` in the whole and the columns for them; together every place once.
        total: samples of the whole.
    """
    if not parts:
        return {}
    first = parts[0][1]
    for _, part in parts:
        if part.keys() != first.keys():
            raise DataError(
                f"Some samples have the fields {', '.join(first)}, others {', '.join(part)}. Expected the same fields "
                f"in all files of a channel."
            )
    joined: Columns = {}
    for name, column in first.items():
        if isinstance(column, np.ndarray) and all(
            isinstance(found := part[name], np.ndarray) and found.shape[1:] == column.shape[1:] for _, part in parts
        ):
            kinds = [np.asarray(part[name]).dtype for _, part in parts]
            out = np.empty((total, *column.shape[1:]), dtype=np.result_type(*kinds))
            for places, part in parts:
                out[places] = part[name]
            joined[name] = out
        else:
            values: list[Any] = [None] * total
            for places, part in parts:
                for place, value in zip(places.tolist(), part[name], strict=True):
                    values[place] = value
            joined[name] = values
    return joined
