"""Shards that lie in S3: a block of samples becomes a few ranges of each object, fetched side by side.

The samples of a block lie in windows, one for each slot of the batch: rows near each other are fetched as one range,
and records are taken from the ranges, which are forgotten after use. A shard is never in memory as a whole.
"""

import mmap
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..formats.layout import Index, Layout, Sample
from .plan import Positions
from .remote import Part, Waiting, scatter
from .s3 import PIECE_BYTES, Bytes, Object, Pending
from .shards import BadRecords, Read, read_samples

GAP_BYTES = 64 << 10
"""Bytes between two records that are rather read than left out by a request of their own."""
HEAD_BYTES = 1 << 20

_NORESERVE = 0x4000
"""MAP_NORESERVE of Linux, which Python names from 3.13 on."""


class S3LayoutShard:
    """Records of one stride in an object."""

    def __init__(self, item: Object, layout: Layout, *, checksums: bool = True) -> None:
        self.name, self.records = item.name, layout.records
        self.record_bytes = float(layout.stride)
        self.first_line: int | None = None
        self._object, self._layout, self._checksums = item, layout, checksums

    def read(self, rows: Positions, bad: BadRecords) -> Read:
        """Gather records `[n]`."""
        return scatter(len(rows), self.request(rows)(bad))

    def request(self, rows: Positions) -> Waiting:
        """Begin to fetch records `[n]`."""
        order = np.argsort(rows)
        starts = self._layout.offset + rows[order] * self._layout.stride
        borders = coalesce(starts, starts + self._layout.stride)
        firsts, lasts = starts[borders[:-1]], starts[borders[1:] - 1] + self._layout.stride
        fetched = self._object.bucket.request(self._object, firsts, lasts)
        groups = np.split(order, borders[1:-1])
        return partial(self._gather, rows, groups, fetched)

    def _gather(self, rows: Positions, groups: list[Positions], fetched: Pending, bad: BadRecords) -> Iterator[Part]:
        for group, buffer in zip(groups, fetched(), strict=True):
            # A range begins and ends with a record, so it is records of one stride again.
            layout = replace(self._layout, offset=0, records=len(buffer) // self._layout.stride)
            first = rows[group[0]]
            places = group if self._sound(layout, buffer) else self._find_sound(buffer, rows, group, bad)
            if len(places):
                yield places, dict(layout.gather(buffer, rows[places] - first))

    def _sound(self, layout: Layout, buffer: Bytes) -> bool:
        try:
            layout.verify(buffer, 0, layout.records, checksums=self._checksums)
        except FormatError:
            return False
        return True

    def _find_sound(self, buffer: Bytes, rows: Positions, group: Positions, bad: BadRecords) -> Positions:
        """Look at each record at the place that it has in its object, so that messages name that place."""
        whole = _sparse(self._object.size)
        start = self._layout.offset + int(rows[group[0]]) * self._layout.stride
        whole[start : start + len(buffer)] = buffer
        sound = []
        for place in group.tolist():
            row = int(rows[place])
            try:
                self._layout.verify(whole, row, row + 1, checksums=self._checksums)
                sound.append(place)
            except FormatError as error:
                bad.found(self.name, error)
        return np.array(sound, dtype=np.int64)


class S3IndexedShard:
    """Records of any size in an object, whose places are known."""

    def __init__(
        self, item: Object, index: Index, decode: Callable[[memoryview], Sample], threads: Executor | None
    ) -> None:
        self.name, self.records = item.name, len(index)
        self.record_bytes, self.first_line = item.size / max(len(index), 1), None
        self._object, self._index, self._decode, self._threads = item, index, decode, threads

    def read(self, rows: Positions, bad: BadRecords) -> Read:
        """Decode records `[n]`."""
        return scatter(len(rows), self.request(rows)(bad))

    def request(self, rows: Positions) -> Waiting:
        """Begin to fetch records `[n]`."""
        starts = self._index.starts[rows]
        order = np.argsort(starts)
        ends = np.maximum.accumulate(self._index.stops[rows][order])
        borders = coalesce(starts[order], ends)
        fetched = self._object.bucket.request(self._object, starts[order][borders[:-1]], ends[borders[1:] - 1])
        return partial(self._read, rows, np.split(order, borders[1:-1]), fetched)

    def _read(self, rows: Positions, groups: list[Positions], fetched: Pending, bad: BadRecords) -> Iterator[Part]:
        places: list[int] = []
        records: list[memoryview] = []
        for group, buffer in zip(groups, fetched(), strict=True):
            starts, stops = self._index.starts[rows[group]], self._index.stops[rows[group]]
            view = memoryview(buffer)  # type: ignore[arg-type]
            spans = zip((starts - starts[0]).tolist(), (stops - starts[0]).tolist(), strict=True)
            places += group.tolist()
            records += [view[start:stop] for start, stop in spans]
        columns, kept = read_samples(records, self._decode, self.name, self._threads, bad)
        if columns:
            yield np.array(places, dtype=np.int64)[slice(None) if kept is None else kept], columns


def coalesce(starts: Positions, ends: Positions) -> Positions:
    """Divide records into groups that are fetched as one range each.

    Args:
        starts: first byte of each record `[n]`, ascending.
        ends: byte after each record and all before it `[n]`.

    Returns:
        Borders of the groups `[m + 1]`, from 0 to n: records near each other are together, within 8 MB.
    """
    apart = (starts[1:] - ends[:-1] > GAP_BYTES) | (np.diff(starts // PIECE_BYTES) > 0)
    return np.concatenate(([0], np.flatnonzero(apart) + 1, [len(starts)]))


def _sparse(size: int) -> NDArray[np.uint8]:
    """Zeros that take memory only where they are written."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE
    return np.frombuffer(mmap.mmap(-1, max(size, 1), flags=flags), dtype=np.uint8)
