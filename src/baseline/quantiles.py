"""KLL sketches: distributions of any number of values in about 50 KB, merged in any grouping.

Values are float32, as training has them: what a request writes as 0.1 must fall on the 0.1 of the training data.
Levels are read from the serialized form: datasketches 5.2 gives every item of a merged sketch the weight 1.

Source: https://arxiv.org/abs/1603.05346; the form is that of kll_sketch_impl.hpp, `serialize`.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from datasketches import kll_floats_sketch
from numpy.typing import NDArray

K = 2048
"""Size of a sketch: ranks are off by 0.2% or less."""
C = 0.64
"""Factor between the capacities of two levels, by which the platform's files name a sketch's shape beside k."""
_SHORT, _SINGLE = 2, 4
_PREAMBLE = struct.Struct("<BBBBHBB")
_FULL = struct.Struct("<QHBB")
_POINTS = 64

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution as a staircase."""

    values: Floats
    """Where the steps are, in order, each once."""
    shares: Floats
    """Share of all that is at most each of the values; the last is 1."""
    count: int
    """Observations behind it."""
    rank_error: float
    """How far shares may be off."""

    @classmethod
    def of(cls, values: Floats, weights: Floats, *, count: int, rank_error: float = 0.0) -> "Distribution":
        """Make one of weighted values in any order, at least one."""
        steps, place = np.unique(values.astype(np.float32).astype(np.float64), return_inverse=True)
        total = np.cumsum(np.bincount(place, weights=weights, minlength=len(steps)))
        return cls(steps, total / total[-1], count, rank_error)

    @classmethod
    def of_levels(cls, levels: Iterable[Sequence[float]], *, count: int, k: float = K) -> "Distribution":
        """Make one of the levels of a sketch: an item of level i stands for 2^i values."""
        arrays = [np.asarray(level, dtype=np.float64) for level in levels]
        weights = np.concatenate([np.full(len(items), 2.0**level) for level, items in enumerate(arrays)])
        exact = len(weights) >= count
        error = 0.0 if exact else float(kll_floats_sketch.get_normalized_rank_error(int(k), False))
        return cls.of(np.concatenate(arrays), weights, count=count, rank_error=error)

    @classmethod
    def of_buckets(cls, edges: Iterable[tuple[float, float, float]]) -> "Distribution":
        """Make one of buckets (lower, upper, count), for statistics without a sketch: even inside a bucket."""
        parts = [(np.linspace(low, high, _POINTS), count) for low, high, count in edges if count]
        weights = np.concatenate([np.full(_POINTS, count / _POINTS) for _, count in parts])
        return cls.of(np.concatenate([values for values, _ in parts]), weights, count=round(float(weights.sum())))

    def at(self, values: Floats) -> Floats:
        """Share of all that is at most each of `values`."""
        return np.concatenate(([0.0], self.shares))[np.searchsorted(self.values, values, side="right")]

    def quantile(self, share: float) -> float:
        """Smallest value that a share of all is at most."""
        return float(self.values[min(int(np.searchsorted(self.shares, share)), len(self.values) - 1)])

    def buckets(self, number: int) -> list[tuple[float, float, float]]:
        """Even ranges from the smallest value to the largest, as (lower, upper, share of all)."""
        edges = np.linspace(self.values[0], self.values[-1], number + 1)
        return list(zip(edges[:-1].tolist(), edges[1:].tolist(), self.between(edges).tolist(), strict=True))

    def between(self, edges: Floats) -> Floats:
        """Share of all between each two edges, the lower one outside, but for the first."""
        below = self.at(edges)
        below[0] = self.at(np.nextafter(edges[:1], -np.inf))[0]
        return np.diff(below)


class Quantiles:
    """A sketch that is filled."""

    def __init__(self, content: bytes | None = None) -> None:
        """Begin an empty one, or take up a serialized one."""
        self.sketch = kll_floats_sketch(K) if content is None else kll_floats_sketch.deserialize(content)

    def add(self, values: Floats) -> None:
        """Take in finite values."""
        self.sketch.update(values.astype(np.float32))

    def merge(self, other: "Quantiles") -> None:
        """Take in another."""
        self.sketch.merge(other.sketch)

    def to_bytes(self) -> bytes:
        """Serialize without loss."""
        return bytes(self.sketch.serialize())

    @property
    def count(self) -> int:
        """Values taken in."""
        return int(self.sketch.n)

    def levels(self) -> list[list[float]]:
        """Items of each level; one of level i stands for 2^i values."""
        content = self.to_bytes()
        preamble, _, _, flags, *_ = _PREAMBLE.unpack_from(content)
        place = _PREAMBLE.size
        if preamble == _SHORT:
            return [np.frombuffer(content, "<f4", offset=place).tolist()] if flags & _SINGLE else []
        _, _, number, _ = _FULL.unpack_from(content, place)
        starts = np.frombuffer(content, "<u4", number, place + _FULL.size)
        # Behind the starts of the levels come the smallest and the largest value, then the items.
        items = np.frombuffer(content, "<f4", offset=place + _FULL.size + starts.nbytes + 8)
        return [part.tolist() for part in np.split(items, (starts[1:] - starts[0]).astype(np.int64))]

    def distribution(self) -> Distribution:
        """What was taken in, at least one value."""
        return Distribution.of_levels(self.levels(), count=self.count)
