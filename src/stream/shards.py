"""One file of records, or one folder of images, that records are read from by number."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, FormatError
from ..formats.layout import Index, Layout, Sample
from .files import File, Maps
from .plan import Positions

Column: TypeAlias = NDArray[Any] | list[Any]
Columns: TypeAlias = dict[str, Column]
"""A batch: `[n, ...]` of each field, or a list where the values of a field differ in shape or are no numbers."""
Read: TypeAlias = tuple[Columns, Positions | None]
"""Columns, and which places of the request they are for: None for all of them."""

_Record = TypeVar("_Record")
_CHECKED_BYTES = 1 << 18


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
        self._channel, self._skip = channel, skip
        self._lock = threading.Lock()

    def found(self, file: str, error: FormatError) -> None:
        """Take note of one.

        Raises:
            DataError: names channel and file, unless broken records are skipped.
        """
        message = f"Channel {self._channel!r}, file {file}: {error}"
        if not self._skip:
            raise DataError(message) from error
        with self._lock:
            self.skipped += 1
            self.first = self.first or message


class LayoutShard:
    """Records of one stride: a batch is one gather from the map. Structure is checked once, just ahead of use."""

    def __init__(
        self, file: File, layout: Layout, maps: Maps, *, checksums: bool = True, first_line: int | None = None
    ) -> None:
        self.name, self.records = file.name, layout.records
        self.record_bytes, self.first_line = float(layout.stride), first_line
        self._file, self._layout, self._maps = file, layout, maps
        self._checksums = checksums
        self._chunk = max(1, _CHECKED_BYTES // max(layout.stride, 1))
        self._checked = np.zeros(-(-layout.records // self._chunk), dtype=bool)

    def read(self, rows: Positions, bad: BadRecords) -> Read:
        """Gather records `[n]`."""
        buffer = self._maps.map(self._file)
        broken = self._check(buffer, rows, bad) if self._layout.fixed or self._layout.checksums else []
        if not broken:
            return dict(self._layout.gather(buffer, rows)), None
        kept = np.delete(np.arange(len(rows)), broken)
        return dict(self._layout.gather(buffer, rows[kept])), kept

    def _check(self, buffer: NDArray[np.uint8], rows: Positions, bad: BadRecords) -> list[int]:
        """Check what has not been checked yet and return the places of broken rows."""
        broken: list[int] = []
        chunks = np.unique(rows // self._chunk)
        for chunk in chunks[~self._checked[chunks]]:
            first, last = chunk * self._chunk, min((chunk + 1) * self._chunk, self.records)
            try:
                self._layout.verify(buffer, first, last, checksums=self._checksums)
                self._checked[chunk] = True
            except FormatError:
                # Somewhere in these rows: look at each that is asked for, since the others may never be.
                broken += self._broken_among(buffer, rows, np.flatnonzero((rows >= first) & (rows < last)), bad)
        return broken

    def _broken_among(
        self, buffer: NDArray[np.uint8], rows: Positions, suspects: Positions, bad: BadRecords
    ) -> list[int]:
        broken = []
        for place in suspects.tolist():
            try:
                self._layout.verify(buffer, int(rows[place]), int(rows[place]) + 1, checksums=self._checksums)
            except FormatError as error:
                bad.found(self.name, error)
                broken.append(place)
        return broken


class IndexedShard:
    """Records of any size, decoded one by one, in threads where the decoder lets other threads run."""

    def __init__(
        self,
        file: File,
        maps: Maps,
        index: Index,
        decode: Callable[[memoryview], Sample],
        threads: Executor | None,
        *,
        first_line: int | None = None,
    ) -> None:
        self.name, self.first_line = file.name, first_line
        self._file, self._maps, self._decode, self._threads = file, maps, decode, threads
        self._index = index
        self.records = len(self._index.starts)
        self.record_bytes = file.size / max(self.records, 1)

    def read(self, rows: Positions, bad: BadRecords) -> Read:
        """Decode records `[n]`."""
        view = memoryview(self._maps.map(self._file))  # type: ignore[arg-type]
        spans = zip(self._index.starts[rows].tolist(), self._index.stops[rows].tolist(), strict=True)
        return read_samples([view[start:stop] for start, stop in spans], self._decode, self.name, self._threads, bad)


def read_samples(
    records: list[_Record],
    decode: Callable[[_Record], Sample],
    file: str,
    threads: Executor | None,
    bad: BadRecords,
) -> Read:
    """Decode records in order and put their fields into columns."""

    def attempt(record: _Record) -> Sample | FormatError:
        try:
            return decode(record)
        except FormatError as error:
            return error

    samples, kept = [], []
    for place, result in enumerate(threads.map(attempt, records) if threads else map(attempt, records)):
        if isinstance(result, FormatError):
            bad.found(file, result)
        else:
            samples.append(result)
            kept.append(place)
    return collate(samples, file), None if len(kept) == len(records) else np.array(kept, dtype=np.int64)


def collate(samples: list[Sample], file: str) -> Columns:
    """Put samples into columns: arrays of one shape and type are stacked, everything else becomes a list.

    Raises:
        DataError: samples that do not have the same fields.
    """
    if not samples:
        return {}
    names = samples[0].keys()
    for sample in samples:
        if sample.keys() != names:
            raise DataError(
                f"File {file}: one sample has the fields {', '.join(names)}, another {', '.join(sample)}. Expected the "
                f"same fields in every sample of a channel."
            )
    return {name: _column([sample[name] for sample in samples]) for name in names}


def _column(values: list[Any]) -> Column:
    first = values[0]
    if isinstance(first, (int, float, np.number)):
        return np.asarray(values)
    if isinstance(first, np.ndarray) and all(
        isinstance(value, np.ndarray) and value.shape == first.shape and value.dtype == first.dtype for value in values
    ):
        return np.stack(values)
    return values


def join(parts: Sequence[tuple[Positions, Columns]], total: int) -> Columns:
    """Put what several shards have read back into one order.

    Args:
        parts: of each shard, places `[m]` in the whole and the columns for them; together every place once.
        total: samples of the whole.
    """
    if not parts:
        return {}
    first = parts[0][1]
    joined: Columns = {}
    for name, column in first.items():
        if isinstance(column, np.ndarray) and all(
            isinstance(found := part[name], np.ndarray) and found.shape[1:] == column.shape[1:] for _, part in parts
        ):
            out = np.empty((total, *column.shape[1:]), dtype=column.dtype)
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
