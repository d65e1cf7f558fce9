"""Shards that lie in S3: a block of samples becomes a few ranges of each object, fetched side by side.

The samples of a block lie in windows, one for each slot of the batch: rows near each other are fetched as one range,
and records are taken from the ranges, which are forgotten after use. A shard is never in memory as a whole.
"""

import mmap
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..formats.layout import Layout
from .plan import Positions
from .remote import Located, Part, Waiting, scatter
from .s3 import PIECE_BYTES, Bytes, Object, Pending
from .shards import BadRecords, Read

GAP_BYTES = 64 << 10
"""Bytes between two records that are rather read than left out by a request of their own."""
HEAD_BYTES = 1 << 20

_SPARSE = 64
"""Rows of a span, for each that is asked for, above which they are sorted rather than marked."""
_NORESERVE = 0x4000
"""MAP_NORESERVE of Linux, which Python names from 3.13 on."""


class S3LayoutShard:
    """Records of one stride in an object."""

    def __init__(self, item: Object, layout: Layout, *, checksums: bool = True) -> None:
        self.name, self.records = item.name, layout.records
        self.record_bytes = float(layout.stride)
        self.first_line: int | None = None
        self._object, self.layout, self._checksums = item, layout, checksums

    def read(self, rows: Positions, bad: BadRecords) -> Read:
        """Gather records `[n]`."""
        return scatter(len(rows), self.request(rows)(bad))

    def request(self, rows: Positions) -> Waiting:
        """Begin to fetch records `[n]`."""
        order = np.argsort(rows)
        borders, fetched = self._ask(rows[order])
        return partial(self._gather, rows, np.split(order, borders[1:-1]), fetched)

    def locate(self, rows: Positions) -> Callable[[BadRecords], Located]:
        """Begin to fetch records `[n]`; what waits for them says where each lies in memory, and copies nothing."""
        ascending = ascend(rows)
        borders, fetched = self._ask(ascending)
        return partial(self._locate, rows, ascending[borders[:-1]], fetched)

    def _ask(self, rows: Positions) -> tuple[Positions, Pending]:
        """Begin to fetch records `[n]` that ascend: borders of the groups that are one range each, and the ranges."""
        starts = self.layout.offset + rows * self.layout.stride
        borders = coalesce(starts, starts + self.layout.stride)
        firsts, lasts = starts[borders[:-1]], starts[borders[1:] - 1] + self.layout.stride
        return borders, self._object.bucket.request(self._object, firsts, lasts)

    def _gather(self, rows: Positions, groups: list[Positions], fetched: Pending, bad: BadRecords) -> Iterator[Part]:
        for group, buffer in zip(groups, fetched(), strict=True):
            first = int(rows[group[0]])
            places = group if self._sound(buffer) else group[self._find_sound(buffer, first, rows[group], bad)]
            if len(places):
                yield places, dict(self._layout_of(buffer).gather(buffer, rows[places] - first))

    def _locate(self, rows: Positions, firsts: Positions, fetched: Pending, bad: BadRecords) -> Located:
        buffers = list(fetched())
        of_range = np.searchsorted(firsts, rows, side="right") - 1
        bases = np.array([buffer.ctypes.data for buffer in buffers], dtype=np.int64) - firsts * self.layout.stride
        addresses = bases[of_range] + rows * self.layout.stride
        for number, buffer in enumerate(buffers):
            if not self._sound(buffer):
                places = np.flatnonzero(of_range == number)
                sound = self._find_sound(buffer, int(firsts[number]), rows[places], bad)
                addresses[np.delete(places, sound)] = 0
        return Located(addresses, buffers)

    def _layout_of(self, buffer: Bytes) -> Layout:
        """The layout of a range: it begins and ends with a record, so it is records of one stride again."""
        return replace(self.layout, offset=0, records=len(buffer) // self.layout.stride)

    def _sound(self, buffer: Bytes) -> bool:
        layout = self._layout_of(buffer)
        try:
            layout.verify(buffer, 0, layout.records, checksums=self._checksums)
        except FormatError:
            return False
        return True

    def _find_sound(self, buffer: Bytes, first: int, rows: Positions, bad: BadRecords) -> Positions:
        """Find which of the rows `[n]` of a range are sound.

        Each is looked at in the place that it has in its object, so that messages name that place.

        Args:
            buffer: the range.
            first: its first row.
            rows: those that are asked for.
            bad: takes note of the others.
        """
        whole = _sparse(self._object.size)
        start = self.layout.offset + first * self.layout.stride
        whole[start : start + len(buffer)] = buffer
        sound = []
        for place, row in enumerate(rows.tolist()):
            try:
                self.layout.verify(whole, row, row + 1, checksums=self._checksums)
                sound.append(place)
            except FormatError as error:
                bad.found(self.name, error)
        return np.array(sound, dtype=np.int64)


def ascend(rows: Positions) -> Positions:
    """Rows `[n]`, at least one, in ascending order; one that is there more than once may be left once."""
    lowest = int(rows.min())
    distances = rows - lowest
    span = int(distances.max()) + 1
    if span > _SPARSE * len(rows):
        # To sort values takes a tenth of the time that it takes to find their order, and short ones half as much.
        short = distances.astype(np.uint32) if span <= 1 << 32 else distances
        return np.sort(short).astype(np.int64) + lowest
    # Windows of all slots lie so densely that to mark their rows takes a fraction of that.
    marks = np.zeros(span, dtype=np.bool_)
    marks[distances] = True
    return np.flatnonzero(marks) + lowest


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
