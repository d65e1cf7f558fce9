"""What is known of each column: one pass, constant memory, merged in any grouping of blocks, hours and hosts.

Sums of squares lose all digits when the mean is large, so deviations from the mean are carried and merged instead.
Source: Chan, Golub, LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979.
"""

from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasketches import hll_sketch, hll_union
from numpy.typing import NDArray

from .quantiles import Quantiles

MAX_CATEGORIES = 1000
"""Most distinct texts that are counted one by one; a column with more is free text or a key."""
_LOG_REGISTERS = 12

Floats = NDArray[np.float64]
Column: TypeAlias = Floats | pa.StringArray
"""Numbers, NaN where one is missing, or text, null where it is."""
Block = Mapping[str, Column]


@dataclass(slots=True)
class Moments:
    """Count, mean, spread and range of numbers."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    """Sum of squared deviations from the mean."""
    minimum: float = np.inf
    maximum: float = -np.inf

    @classmethod
    def of(cls, values: Floats) -> "Moments":
        """Moments of finite values."""
        if not len(values):
            return cls()
        mean = float(values.mean())
        rest = values - mean
        return cls(len(values), mean, float(rest @ rest), float(values.min()), float(values.max()))

    def merge(self, other: "Moments") -> None:
        """Take in others."""
        count = self.count + other.count
        if not other.count:
            return
        step, share = other.mean - self.mean, other.count / count
        self.squares += other.squares + step * step * self.count * share
        self.mean += step * share
        self.count = count
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)

    @property
    def std(self) -> float:
        """Standard deviation of the whole, not of a sample."""
        return float(np.sqrt(self.squares / self.count)) if self.count else 0.0


@dataclass(slots=True)
class Numbers:
    """Numbers of a column."""

    moments: Moments = field(default_factory=Moments)
    whole: int = 0
    """How many have no fraction."""
    negative: int = 0
    quantiles: Quantiles = field(default_factory=Quantiles)

    def add(self, values: Floats) -> None:
        """Take in finite values."""
        self.moments.merge(Moments.of(values))
        self.whole += int(np.count_nonzero(values == np.rint(values)))
        self.negative += int(np.count_nonzero(values < 0))
        self.quantiles.add(values)

    def merge(self, other: "Numbers") -> None:
        """Take in others."""
        self.moments.merge(other.moments)
        self.whole += other.whole
        self.negative += other.negative
        self.quantiles.merge(other.quantiles)


@dataclass(slots=True)
class Texts:
    """Texts of a column."""

    lengths: Numbers = field(default_factory=Numbers)
    """Characters of each."""
    categories: Counter[str] | None = field(default_factory=Counter)
    """How often each occurs; None once there are too many."""
    seen: hll_sketch = field(default_factory=lambda: hll_sketch(_LOG_REGISTERS))
    """Estimates how many there are, exactly while there are few."""

    def add(self, values: pa.StringArray) -> None:
        """Take in texts, none of them null."""
        self.lengths.add(pc.utf8_length(values).to_numpy(zero_copy_only=False).astype(np.float64))
        counts = pc.value_counts(values)
        found = dict(zip(counts.field(0).to_pylist(), counts.field(1).to_pylist(), strict=True))
        for text in found:
            self.seen.update(text)
        if self.categories is not None:
            self.categories.update(found)
            self._bound()

    def merge(self, other: "Texts") -> None:
        """Take in others."""
        self.lengths.merge(other.lengths)
        union = hll_union(_LOG_REGISTERS)
        union.update(self.seen)
        union.update(other.seen)
        self.seen = union.get_result()
        if self.categories is not None and other.categories is not None:
            self.categories.update(other.categories)
            self._bound()
        else:
            self.categories = None

    @property
    def distinct(self) -> int:
        """Different texts: counted, or estimated within 2% where there are more than `MAX_CATEGORIES`."""
        return round(self.seen.get_estimate()) if self.categories is None else len(self.categories)

    def _bound(self) -> None:
        if self.categories is not None and len(self.categories) > MAX_CATEGORIES:
            self.categories = None


@dataclass(slots=True)
class Feature:
    """A column: its numbers, its texts, and what is missing."""

    missing: int = 0
    numbers: Numbers = field(default_factory=Numbers)
    texts: Texts = field(default_factory=Texts)

    @property
    def present(self) -> int:
        """Values that are there."""
        return self.numbers.moments.count + self.texts.lengths.moments.count

    def add(self, column: Column) -> None:
        """Take in a block; what is not finite is missing."""
        if isinstance(column, np.ndarray):
            finite = np.isfinite(column)
            if not finite.all():
                self.missing += len(column) - int(finite.sum())
                column = column[finite]
            if len(column):
                self.numbers.add(column)
            return
        self.missing += column.null_count
        column = column.drop_null()
        if len(column):
            self.texts.add(column)

    def merge(self, other: "Feature") -> None:
        """Take in others."""
        self.missing += other.missing
        self.numbers.merge(other.numbers)
        self.texts.merge(other.texts)


@dataclass(slots=True)
class Summary:
    """Columns of some rows."""

    rows: int = 0
    features: dict[str, Feature] = field(default_factory=dict)

    def add(self, block: Block, rows: int) -> None:
        """Take in rows; a column that they lack counts nowhere."""
        self.rows += rows
        for name, column in block.items():
            found = self.features.get(name)
            if found is None:
                found = self.features[name] = Feature()
            found.add(column)

    def merge(self, other: "Summary") -> None:
        """Take in others."""
        self.rows += other.rows
        for name, feature in other.features.items():
            self.features.setdefault(name, Feature()).merge(feature)

    def to_json(self) -> dict[str, Any]:
        """As JSON, without loss."""
        return {"rows": self.rows, "features": {name: _feature_json(part) for name, part in self.features.items()}}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Summary":
        """Undo `to_json`."""
        return cls(content["rows"], {name: _feature(part) for name, part in content["features"].items()})


def _feature_json(feature: Feature) -> dict[str, Any]:
    texts = feature.texts
    return {
        "missing": feature.missing,
        "numbers": _numbers_json(feature.numbers),
        "lengths": _numbers_json(texts.lengths),
        "categories": None if texts.categories is None else dict(texts.categories),
        "seen": b64encode(texts.seen.serialize_compact()).decode(),
    }


def _numbers_json(numbers: Numbers) -> dict[str, Any]:
    moments = numbers.moments
    return {
        "moments": [moments.count, moments.mean, moments.squares],
        "range": [moments.minimum, moments.maximum] if moments.count else None,
        "whole": numbers.whole,
        "negative": numbers.negative,
        "quantiles": b64encode(numbers.quantiles.to_bytes()).decode(),
    }


def _feature(content: Mapping[str, Any]) -> Feature:
    categories = content["categories"]
    texts = Texts(
        _numbers(content["lengths"]),
        None if categories is None else Counter(categories),
        hll_sketch.deserialize(b64decode(content["seen"])),
    )
    return Feature(content["missing"], _numbers(content["numbers"]), texts)


def _numbers(content: Mapping[str, Any]) -> Numbers:
    moments = Moments(*content["moments"], *(content["range"] or ()))
    return Numbers(moments, content["whole"], content["negative"], Quantiles(b64decode(content["quantiles"])))
