"""One gather over many shards of one layout, whatever their number.

A gather for each shard, and a second copy to bring the rows back into order, would take half the speed as soon as there
is more than one shard. Maps lie at addresses, and one view can begin at the lowest of them: rows are then taken by
their distance from it in bytes. Nothing between the maps is touched, since every distance points into one of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..formats.layout import Buffer
from .files import MAX_OPEN
from .plan import Positions, locate
from .shards import BadRecords, Column, LayoutShard, Read, Shard


@dataclass(frozen=True, slots=True)
class _Memory:
    """The maps of some shards, seen as one piece of memory."""

    buffers: Sequence[Buffer]
    """They keep the maps."""
    view: Buffer
    shifts: Positions
    """Of each shard `[shards]`: a sample's id times the stride and this is its first byte in `view`."""


class Together:
    """Shards that one gather can read."""

    def __init__(self, shards: Sequence[LayoutShard]) -> None:
        """Take shards for which `one_layout` holds."""
        self._shards, self._layout = tuple(shards), shards[0].layout
        self._sizes = tuple(shard.records for shard in shards)
        self._ends = np.cumsum(np.asarray(self._sizes, dtype=np.int64))
        self._firsts = self._ends - np.asarray(self._sizes, dtype=np.int64)
        self._whole: _Memory | None = None

    def read(self, sample_ids: Positions, bad: BadRecords) -> Read | None:
        """Read samples `[n]`; None where they lie in more shards than may be mapped at once."""
        if self._whole is None and len(self._shards) <= MAX_OPEN and all(shard.sound for shard in self._shards):
            self._whole = self._memory(range(len(self._shards)))
        if self._whole is not None:
            # Nothing is left to look at, and each call of numpy costs: it lets another thread go first.
            numbers = np.searchsorted(self._ends, sample_ids, side="right")
            return self._gather(self._whole, numbers, sample_ids), None
        return self._checked(sample_ids, bad)

    def _checked(self, sample_ids: Positions, bad: BadRecords) -> Read | None:
        numbers, rows = locate(self._sizes, sample_ids)
        used = np.flatnonzero(np.bincount(numbers, minlength=len(self._shards))).tolist()
        if len(used) > MAX_OPEN:
            return None
        memory = self._memory(used)
        broken: list[int] = []
        for number, buffer in zip(used, memory.buffers, strict=True):
            if not self._shards[number].sound:
                places = np.flatnonzero(numbers == number)
                broken += places[self._shards[number].check(buffer, rows[places], bad)].tolist()
        if not broken:
            return self._gather(memory, numbers, sample_ids), None
        kept = np.delete(np.arange(len(rows)), broken)
        return self._gather(memory, numbers[kept], sample_ids[kept]), kept

    def _memory(self, used: Sequence[int]) -> _Memory:
        buffers = [self._shards[number].buffer() for number in used]
        addresses = [buffer.ctypes.data for buffer in buffers]
        first = min(addresses)
        size = max(address + len(buffer) for address, buffer in zip(addresses, buffers, strict=True)) - first
        view = as_strided(buffers[addresses.index(first)], shape=(size,), strides=(1,), writeable=False)
        shifts = np.zeros(len(self._shards), dtype=np.int64)
        shifts[list(used)] = np.array(addresses) - first + self._layout.offset
        return _Memory(buffers, view, shifts - self._firsts * self._layout.stride)

    def _gather(self, memory: _Memory, numbers: Positions, sample_ids: Positions) -> dict[str, Column]:
        starts = sample_ids * self._layout.stride
        starts += memory.shifts[numbers]
        return dict(self._layout.gather_at(memory.view, starts))


def one_layout(shards: Sequence[Shard]) -> Together | None:
    """Return the shards if a batch of them can be one gather: all of one stride, fields and types."""
    found = tuple(shard for shard in shards if isinstance(shard, LayoutShard))
    if not found or len(found) < len(shards) or not all(shard.gathers_like(found[0]) for shard in found):
        return None
    return Together(found)
