"""Shards that lie in S3: a block of samples becomes a few ranges of each object, fetched side by side.

The samples of a block lie in windows, one for each slot of the batch: rows near each other are fetched as one range,
and records are taken from the ranges, which are forgotten after use. A shard is never in memory as a whole.
"""

import mmap
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..formats.layout import Index, Layout, Sample
from .plan import Positions
from .s3 import Object
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
        self._object, self._layout, self._checksums = item, layout, checksums

    def read(self, rows: Positions, bad: BadRecords) -> Read:
        """Gather records `[n]`."""
        return self.request(rows)(bad)

    def request(self, rows: Positions) -> Callable[[BadRecords], Read]:
        """Begin to fetch records `[n]`, and return what waits for them and gathers them."""
        wanted, places = np.unique(rows, return_inverse=True)
        stride = self._layout.stride
        starts = self._layout.offset + wanted * stride
        first, last, at = coalesce(starts, starts + stride, GAP_BYTES)
        fetched = self._object.bucket.request(self._object, first, last)
        # Gaps are whole records, so what was fetched is records of one stride again.
        local = at // stride

        def gather(bad: BadRecords) -> Read:
            buffer = fetched()
            layout = replace(self._layout, offset=0, records=len(buffer) // stride)
            broken = self._broken(layout, buffer, wanted, local, bad)
            if not len(broken):
                return dict(layout.gather(buffer, local[places])), None
            kept = np.flatnonzero(~np.isin(places, broken))
            return dict(layout.gather(buffer, local[places[kept]])), kept

        return gather

    def _broken(
        self, layout: Layout, buffer: NDArray[np.uint8], wanted: Positions, local: Positions, bad: BadRecords
    ) -> Positions:
        """Places in `wanted` of records that are broken."""
        try:
            layout.verify(buffer, 0, layout.records, checksums=self._checksums)
        except FormatError:
            return self._find_broken(layout.stride, buffer, wanted, local, bad)
        return np.zeros(0, dtype=np.int64)

    def _find_broken(
        self, stride: int, buffer: NDArray[np.uint8], wanted: Positions, local: Positions, bad: BadRecords
    ) -> Positions:
        """Look at each record at the place that it has in its object, so that messages name that place."""
        whole = _sparse(self._object.size)
        broken = []
        for place, (row, found) in enumerate(zip(wanted.tolist(), local.tolist(), strict=True)):
            start = self._layout.offset + row * stride
            whole[start : start + stride] = buffer[found * stride : (found + 1) * stride]
            try:
                self._layout.verify(whole, row, row + 1, checksums=self._checksums)
            except FormatError as error:
                bad.found(self.name, error)
                broken.append(place)
        return np.array(broken, dtype=np.int64)


class S3IndexedShard:
    """Records of any size in an object, whose places are known."""

    def __init__(
        self, item: Object, index: Index, decode: Callable[[memoryview], Sample], threads: Executor | None
    ) -> None:
        self.name, self.records = item.name, len(index)
        self.record_bytes = item.size / max(len(index), 1)
        self._object, self._index, self._decode, self._threads = item, index, decode, threads

    def read(self, rows: Positions, bad: BadRecords) -> Read:
        """Decode records `[n]`."""
        return self.request(rows)(bad)

    def request(self, rows: Positions) -> Callable[[BadRecords], Read]:
        """Begin to fetch records `[n]`, and return what waits for them and decodes them."""
        starts, stops = self._index.starts[rows], self._index.stops[rows]
        order = np.argsort(starts, kind="stable")
        first, last, ordered = coalesce(starts[order], stops[order], GAP_BYTES)
        at = np.empty_like(ordered)
        at[order] = ordered
        fetched = self._object.bucket.request(self._object, first, last)

        def decode(bad: BadRecords) -> Read:
            view = memoryview(fetched())  # type: ignore[arg-type]
            spans = zip(at.tolist(), (at + stops - starts).tolist(), strict=True)
            records: Sequence[memoryview] = [view[start:stop] for start, stop in spans]
            return read_samples(list(records), self._decode, self.name, self._threads, bad)

        return decode


def coalesce(starts: Positions, stops: Positions, gap: int) -> tuple[Positions, Positions, Positions]:
    """Merge ranges that touch or lie within `gap` bytes of each other.

    Args:
        starts: first byte of each range `[n]`, ascending.
        stops: byte after each range `[n]`.
        gap: bytes that are rather read than skipped.

    Returns:
        Starts and stops of the merged ranges, each `[m]`, and for each range `[n]` the place of its first byte in the
        merged ranges laid end to end.
    """
    ends = np.maximum.accumulate(stops)
    firsts = np.flatnonzero(np.concatenate(([True], starts[1:] - ends[:-1] > gap))) if len(starts) else starts
    merged_starts, merged_stops = starts[firsts], ends[np.append(firsts[1:], len(starts)) - 1]
    sizes = merged_stops - merged_starts
    which = np.searchsorted(firsts, np.arange(len(starts)), side="right") - 1
    return merged_starts, merged_stops, starts - merged_starts[which] + (np.cumsum(sizes) - sizes)[which]


def _sparse(size: int) -> NDArray[np.uint8]:
    """Zeros that take memory only where they are written."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE
    return np.frombuffer(mmap.mmap(-1, max(size, 1), flags=flags), dtype=np.uint8)
