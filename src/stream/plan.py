"""Which sample is slot s of global batch g: a pure function of (shard sizes, seed, epoch, batch size, window).

An epoch lays the shards end to end in a random order, turned by a random offset into a ring of N samples. Slot s of
the B slots of a global batch owns the contiguous span [s*N/B, (s+1)*N/B) of that ring and walks it, shuffled inside
windows of bounded size. Global batch g is what the B slots yield at step g.

    ring    | shard 2      | shard 0           | shard 1   |     N samples, order by (seed, epoch)
    slots   |  0  |  1  |  2  |  3  |  4  |  5  |  6  |  7  |     B spans, one for each row of a batch
    rank 0  |<------------------->|                               slots [0, B/W) of W ranks: neighbours
    batch g    ^     ^     ^     ^     ^     ^     ^     ^        one sample of each span

Nothing here depends on ranks, threads or workers, so any number of them sees the same global batches, and the whole
state of a loader is (seed, epoch, step). Spans differ in length by at most one sample: the last batch can be short,
and no sample is dropped, repeated or padded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]
_Words = NDArray[np.uint64]

DEFAULT_WINDOW = 256
"""Samples of a span that are shuffled together: enough to part neighbours, few enough to stay in a cache."""
_WORD = 0xFFFFFFFFFFFFFFFF


@dataclass(frozen=True, slots=True)
class Block:
    """What some slots yield at consecutive steps, step after step and in slot order."""

    sample_ids: Positions
    """Ids `[samples]`; an id counts through the shards as they were given, shard 0 first."""
    counts: Positions
    """Samples of each step `[steps]`: all slots but for the last step, where spans that have ended yield none."""

    def part(self, first: int, last: int) -> "Block":
        """What they yield at steps `first` to `last - 1` of this block."""
        start, count = int(self.counts[:first].sum()), int(self.counts[first:last].sum())
        return Block(self.sample_ids[start : start + count], self.counts[first:last])


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

    @cached_property
    def samples(self) -> int:
        """Samples of the epoch."""
        return sum(self.shard_sizes)

    @property
    def steps(self) -> int:
        """Global batches of the epoch; the last one can be short."""
        return -(-self.samples // self.batch_size)

    def count(self, step: int) -> int:
        """Samples in global batch `step`, over all slots."""
        return min(max(self.samples - step * self.batch_size, 0), self.batch_size)

    def batch(self, step: int, slots: range) -> Positions:
        """Sample ids `[n]` that these slots yield at a step, in slot order; n is at most `len(slots)`."""
        return self.block(step, step + 1, slots).sample_ids

    def block(self, first: int, last: int, slots: range) -> Block:
        """Everything that these slots yield at steps `first` to `last - 1`; many steps cost little more than one."""
        last = min(last, self.steps)
        if first >= last:
            return Block(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
        starts, ends = self.spans(slots)
        steps = np.arange(first, last, dtype=np.int64)
        offsets = self._offsets(first, last, slots, ends - starts) if self.shuffle else steps[:, None]
        alive = steps[:, None] < (ends - starts)[None, :]
        ring = offsets + starts[None, :]
        return Block(self._sample_ids(ring[alive] if not alive.all() else ring.ravel()), alive.sum(axis=1))

    def spans(self, slots: range) -> tuple[Positions, Positions]:
        """Starts and ends on the ring, each `[slots]`."""
        borders = np.arange(slots.start, slots.stop + 1, dtype=np.int64) * self.samples // self.batch_size
        return borders[:-1], borders[1:]

    def _offsets(self, first: int, last: int, slots: range, lengths: Positions) -> Positions:
        """Shuffled offsets into the spans `[steps, slots]`; rows past a span's end hold anything inside the ring."""
        parts = []
        for number in range(first // self.window, -(-last // self.window)):
            start = number * self.window
            order = self._known_order(number, slots, lengths)
            parts.append(order[max(first - start, 0) : last - start] + np.int64(start))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _known_order(self, number: int, slots: range, lengths: Positions) -> NDArray[np.uint32]:
        """Order inside one window, kept for the next block: a window of large records is many blocks."""
        key = (number, slots)
        if key not in self._orders:
            self._orders.clear()
            sizes = np.clip(lengths - number * self.window, 0, self.window)
            self._orders[key] = self._window_order(number, slots, sizes)
        return self._orders[key]

    @cached_property
    def _orders(self) -> dict[tuple[int, range], NDArray[np.uint32]]:
        return {}

    def _window_order(self, number: int, slots: range, sizes: Positions) -> NDArray[np.uint32]:
        """Order inside one window of each slot `[window, slots]`; `sizes` `[slots]` is how much of it the span fills.

        Every slot and window has a bijection of its own on the next power of two. Where the span ends inside the
        window, the values that exist are kept in their sequence.
        """
        # The longest of all spans, these slots' or others', so that the order does not depend on who asks.
        width = min(self.window, self.steps - number * self.window)
        bits = (width - 1).bit_length()
        keys = _mix(
            np.uint64(_key(self.seed, self.epoch, 2, number))
            ^ _mix(np.arange(slots.start, slots.stop, dtype=np.uint64))
        )
        order = _bijection(np.arange(1 << bits, dtype=np.uint32)[:, None], keys[None, :], bits)
        if int(sizes.min(initial=1 << bits)) < 1 << bits:
            # A stable sort that only moves what does not exist behind what does.
            order = np.take_along_axis(order, np.argsort(order >= sizes[None, :], axis=0, kind="stable"), axis=0)
        return order[:width]

    def _sample_ids(self, ring: Positions) -> Positions:
        """Turn positions on the ring into sample ids."""
        if not self.shuffle or not len(ring):
            return ring
        ring = ring + self._turn
        ring[ring >= self.samples] -= self.samples
        if len(self.shard_sizes) == 1:
            return ring
        ends, moves = self._ring
        return ring + moves[np.searchsorted(ends, ring, side="right")]

    @cached_property
    def _turn(self) -> int:
        return _key(self.seed, self.epoch, 1) % max(self.samples, 1)

    @cached_property
    def _ring(self) -> tuple[Positions, Positions]:
        """Ring position where each shard ends, in ring order, and what to add there to come to a sample id."""
        sizes = np.asarray(self.shard_sizes, dtype=np.int64)
        order = np.argsort(
            _mix(np.uint64(_key(self.seed, self.epoch, 0)) ^ _mix(np.arange(len(sizes), dtype=np.uint64)))
        )
        ends = np.cumsum(sizes[order])
        first_ids = np.cumsum(sizes) - sizes
        return ends, first_ids[order] - (ends - sizes[order])


def rank_slots(batch_size: int, rank: int, world: int) -> range:
    """Slots of one rank: neighbours, so that a rank reads only its own part of the data."""
    return range(rank * batch_size // world, (rank + 1) * batch_size // world)


def locate(shard_sizes: Sequence[int], sample_ids: Positions) -> tuple[Positions, Positions]:
    """Shard number and row in that shard, each `[n]`, of sample ids `[n]`."""
    ends = np.cumsum(np.asarray(shard_sizes, dtype=np.int64))
    shard = np.searchsorted(ends, sample_ids, side="right")
    return shard, sample_ids - (ends - np.asarray(shard_sizes, dtype=np.int64))[shard]


def _mix(value: _Words) -> _Words:
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
        word = np.array([(key + 0x9E3779B97F4A7C15 + part) & _WORD], dtype=np.uint64)
        key = int(_mix(word)[0])
    return key


def _bijection(value: NDArray[np.uint32], keys: _Words, bits: int) -> NDArray[np.uint32]:
    """Map the numbers below `2**bits` onto themselves, differently for each key: multiply, add and fold, twice.

    An odd multiplier and a shift by half the bits with exclusive or are both invertible modulo a power of two.
    """
    mask = np.uint32((1 << bits) - 1)
    fold = np.uint32(max(bits // 2, 1))
    low, high = keys.astype(np.uint32), (keys >> np.uint64(32)).astype(np.uint32)
    for multiplier, addend in ((low | np.uint32(1), high), (high | np.uint32(1), low >> np.uint32(7))):
        value = (value * multiplier + addend) & mask
        value = value ^ (value >> fold)
    return value
