"""Which sample is slot s of global batch g: a pure function of (shard sizes, seed, epoch, batch size, window).

An epoch lays the shards end to end in a random order, turned by a random offset into a ring of N samples. Slot s of
the B slots of a global batch owns the contiguous span [s*N/B, (s+1)*N/B) of that ring and walks it, shuffled inside
windows of bounded size. Global batch g is what the B slots yield at step g.

    ring    | shard 2      | shard 0           | shard 1   |     N samples, order by (seed, epoch)
    slots   |  0  |  1  |  2  |  3  |  4  |  5  |  6  |  7  |     B spans, one for each row of a batch
    rank 0  |<------------------->|                               slots [0, B/W) of W ranks: neighbours
    batch g    ^     ^     ^     ^     ^     ^     ^     ^        one sample of each span

Nothing here depends on ranks or workers, so any number of ranks sees the same global batches, and the whole state of
a loader is (seed, epoch, step). Spans differ in length by at most one sample: the last batch can be short, and no
sample is dropped, repeated or padded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]
_Keys = NDArray[np.uint64]

DEFAULT_WINDOW = 1024


def _mix(value: _Keys) -> _Keys:
    """Finalizer of SplitMix64: a bijection of 64-bit words with good avalanche.

    Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _key(*parts: int) -> int:
    """Hash whole numbers into one 64-bit key; the order of the parts matters."""
    key = 0
    for part in parts:
        word = np.array([(key + 0x9E3779B97F4A7C15 + part) & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64)
        key = int(_mix(word)[0])
    return key


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The order of one epoch."""

    shard_sizes: tuple[int, ...]
    """Samples in each shard; zero is allowed."""
    batch_size: int
    """Slots of a global batch, over all ranks."""
    seed: int
    epoch: int
    window: int = DEFAULT_WINDOW
    """Samples of a slot's span that are shuffled together; 1 walks the spans in order."""
    shuffle: bool = True
    """False lays the shards in the order given, without turning or windows."""

    def __post_init__(self) -> None:
        """Refuse sizes that no plan exists for; callers check what users type."""
        if self.batch_size < 1 or self.window < 1 or any(size < 0 for size in self.shard_sizes):
            raise ValueError(f"batch_size and window are at least 1 and shard sizes at least 0, found {self}")

    @property
    def samples(self) -> int:
        """Samples of the epoch."""
        return sum(self.shard_sizes)

    @property
    def steps(self) -> int:
        """Global batches of the epoch; the last one can be short."""
        return -(-self.samples // self.batch_size)

    def count(self, step: int) -> int:
        """Samples in global batch `step`, over all slots."""
        starts, ends = self.spans(0, self.batch_size)
        return int(np.count_nonzero(ends - starts > step))

    def batch(self, step: int, slots: range) -> Positions:
        """Sample ids `[n]` that these slots yield at a step, in slot order; n is at most `len(slots)`.

        A sample id counts through the shards as they were given: shard 0 first.
        """
        starts, ends = self.spans(slots.start, slots.stop)
        alive = ends - starts > step
        starts, ends = starts[alive], ends[alive]
        if self.shuffle and len(starts):
            block = step // self.window
            order = _window_order(self, slots, block)[alive]
            offsets = order[:, step % self.window] + block * self.window
        else:
            offsets = np.full(len(starts), step, dtype=np.int64)
        return self._sample_ids(starts + offsets)

    def spans(self, first: int, last: int) -> tuple[Positions, Positions]:
        """Starts and ends on the ring, each `[last - first]`, of the spans of slots `first` to `last - 1`."""
        borders = np.arange(first, last + 1, dtype=np.int64) * self.samples // self.batch_size
        return borders[:-1], borders[1:]

    def _sample_ids(self, ring: Positions) -> Positions:
        """Turn positions on the ring into sample ids."""
        if not self.shuffle:
            return ring
        shard_order, ends, starts = _ring(self)
        turned = (ring + _key(self.seed, self.epoch, 1) % max(self.samples, 1)) % max(self.samples, 1)
        place = np.searchsorted(ends, turned, side="right")
        shard = shard_order[place]
        return turned - (ends[place] - np.asarray(self.shard_sizes, dtype=np.int64)[shard]) + starts[shard]


@lru_cache(maxsize=4)
def _ring(plan: Plan) -> tuple[Positions, Positions, Positions]:
    """Shards in ring order, the ring position where each ends, and the first sample id of each shard as given."""
    sizes = np.asarray(plan.shard_sizes, dtype=np.int64)
    keys = _mix(np.uint64(_key(plan.seed, plan.epoch, 0)) ^ _mix(np.arange(len(sizes), dtype=np.uint64)))
    order = np.argsort(keys, kind="stable").astype(np.int64)
    return order, np.cumsum(sizes[order]), np.cumsum(sizes) - sizes


@lru_cache(maxsize=4)
def _window_order(plan: Plan, slots: range, block: int) -> Positions:
    """Order of one window for each slot, by sorting hashes: slots past the end of their span sort last.

    Only spans that reach into the window count; a span that ends inside it leaves its missing offsets at the end.
    """
    starts, ends = plan.spans(slots.start, slots.stop)
    sizes = np.clip(ends - starts - block * plan.window, 0, plan.window)
    width = int(sizes.max(initial=0))
    rows = np.arange(slots.start, slots.stop, dtype=np.uint64)[:, None]
    offsets = np.arange(width, dtype=np.uint64)[None, :]
    keys = _mix(np.uint64(_key(plan.seed, plan.epoch, 2, block)) ^ _mix(rows << np.uint64(32) | offsets))
    keys[offsets >= sizes[:, None].astype(np.uint64)] = np.uint64(0xFFFFFFFFFFFFFFFF)
    return np.argsort(keys, axis=1, kind="stable").astype(np.int64)


def rank_slots(batch_size: int, rank: int, world: int) -> range:
    """Slots of one rank: neighbours, so that a rank reads only its own part of the data."""
    return range(rank * batch_size // world, (rank + 1) * batch_size // world)


def locate(shard_sizes: Sequence[int], sample_ids: Positions) -> tuple[Positions, Positions]:
    """Shard number and row in that shard, each `[n]`, of sample ids `[n]`."""
    ends = np.cumsum(np.asarray(shard_sizes, dtype=np.int64))
    shard = np.searchsorted(ends, sample_ids, side="right")
    return shard, sample_ids - (ends[shard] - np.asarray(shard_sizes, dtype=np.int64)[shard])
