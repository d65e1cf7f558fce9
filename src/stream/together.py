"""One gather over many shards of one layout, whatever their number.

A gather for each shard, and a second copy to bring the rows back into order, would take half the speed as soon as there
is more than one shard. Maps lie at addresses, and one view can begin at the lowest of them: rows are then taken by
their distance from it in bytes. Nothing between the maps is touched, since every distance points into one of them.
"""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .files import MAX_OPEN
from .plan import Positions
from .shards import BadRecords, LayoutShard, Read, Shard


def one_layout(shards: Sequence[Shard]) -> tuple[LayoutShard, ...] | None:
    """Return the shards if a batch of them can be one gather: all of one stride, fields and types."""
    found = tuple(shard for shard in shards if isinstance(shard, LayoutShard))
    if len(found) < len(shards) or not all(shard.gathers_like(found[0]) for shard in found):
        return None
    return found


def read_together(shards: Sequence[LayoutShard], numbers: Positions, rows: Positions, bad: BadRecords) -> Read | None:
    """Read records `[n]` by shard number and row; None where they lie in more shards than may be mapped at once."""
    used = np.flatnonzero(np.bincount(numbers, minlength=len(shards))).tolist()
    if len(used) > MAX_OPEN:
        return None
    buffers = {number: shards[number].buffer() for number in used}
    broken: list[int] = []
    for number in used:
        if not shards[number].sound:
            places = np.flatnonzero(numbers == number)
            broken += places[shards[number].check(buffers[number], rows[places], bad)].tolist()
    kept = None
    if broken:
        kept = np.delete(np.arange(len(rows)), broken)
        numbers, rows = numbers[kept], rows[kept]
    addresses = np.zeros(len(shards), dtype=np.int64)
    addresses[used] = [buffers[number].ctypes.data for number in used]
    first = min(used, key=lambda number: int(addresses[number]))
    end = max(int(addresses[number]) + len(buffers[number]) for number in used)
    memory = as_strided(buffers[first], shape=(end - int(addresses[first]),), strides=(1,), writeable=False)
    starts = addresses[numbers] - addresses[first] + shards[first].starts(rows)
    return dict(shards[first].layout.gather_at(memory, starts)), kept
