"""Count, missing, minimum, maximum, mean and standard deviation of columns, block by block, and merged in any grouping.

Sums of squares lose all digits when the mean is large, so deviations from the mean are carried and merged instead.
Source: Chan, Golub, LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..stream.shards import Column, Columns

MAX_ELEMENTS = 1024
"""Vectors up to this length have statistics of each element; longer ones of all elements together."""
MAX_CLASSES = 10_000
"""Most distinct labels that are counted."""
_CHANNELS = 4

Floats = NDArray[np.float64]


@dataclass(slots=True)
class Moments:
    """Statistics of `[k]` elements; NaN and infinities count as missing."""

    count: Floats
    missing: Floats
    minimum: Floats
    maximum: Floats
    mean: Floats
    squares: Floats
    """Sum of squared deviations from the mean."""

    @classmethod
    def of(cls, values: Floats) -> "Moments":
        """Statistics of rows `[n, k]`."""
        finite = np.isfinite(values)
        if finite.all():
            count = np.full(values.shape[1], float(len(values)))
            mean = values.mean(axis=0) if len(values) else np.zeros(values.shape[1])
            low, high = values.min(axis=0, initial=np.inf), values.max(axis=0, initial=-np.inf)
            return cls(count, np.zeros_like(count), low, high, mean, np.square(values - mean).sum(axis=0))
        count = finite.sum(axis=0).astype(np.float64)
        mean = np.where(finite, values, 0.0).sum(axis=0) / np.maximum(count, 1)
        squares = np.where(finite, np.square(np.where(finite, values, mean) - mean), 0.0).sum(axis=0)
        low = np.where(finite, values, np.inf).min(axis=0)
        high = np.where(finite, values, -np.inf).max(axis=0)
        return cls(count, len(values) - count, low, high, mean, squares)

    @classmethod
    def of_bytes(cls, values: NDArray[np.uint8]) -> "Moments":
        """Statistics of uint8 `[n, k]` with few columns: exact, from how often each of 256 values occurs."""
        bins = np.stack([np.bincount(column, minlength=256) for column in values.T]).astype(np.float64)
        levels = np.arange(256.0)
        count = bins.sum(axis=1)
        mean = bins @ levels / np.maximum(count, 1)
        squares = (bins * np.square(levels - mean[:, None])).sum(axis=1)
        low = np.where(bins > 0, levels, np.inf).min(axis=1)
        high = np.where(bins > 0, levels, -np.inf).max(axis=1)
        return cls(count, np.zeros_like(count), low, high, mean, squares)

    def merge(self, other: "Moments") -> "Moments":
        """Statistics of both together."""
        count = self.count + other.count
        share = other.count / np.maximum(count, 1)
        step = other.mean - self.mean
        return Moments(
            count,
            self.missing + other.missing,
            np.minimum(self.minimum, other.minimum),
            np.maximum(self.maximum, other.maximum),
            self.mean + step * share,
            self.squares + other.squares + np.square(step) * self.count * share,
        )

    def together(self) -> "Moments":
        """All elements as one."""
        whole = [Moments(*(part[[place]] for part in self._parts())) for place in range(len(self.count))]
        while len(whole) > 1:
            whole = [first.merge(second) for first, second in zip(whole[::2], whole[1::2], strict=False)] + (
                [whole[-1]] if len(whole) % 2 else []
            )
        return whole[0]

    def to_json(self) -> list[list[float | None]]:
        """As lists that JSON holds without loss; where nothing was counted, minimum and maximum are null."""
        return [[value if np.isfinite(value) else None for value in part.tolist()] for part in self._parts()]

    @classmethod
    def from_json(cls, parts: list[list[float | None]]) -> "Moments":
        """Undo `to_json`."""
        fill = (0.0, 0.0, np.inf, -np.inf, 0.0, 0.0)
        return cls(
            *(np.array([other if v is None else v for v in part]) for part, other in zip(parts, fill, strict=True))
        )

    def summary(self) -> dict[str, Any]:
        """What `index.json` says, scalars where there is one element; `std` is that of the whole, not of a sample."""
        std = np.sqrt(self.squares / np.maximum(self.count, 1))
        present = self.count > 0
        parts: dict[str, list[Any]] = {
            "count": self.count.astype(int).tolist(),
            "missing": self.missing.astype(int).tolist(),
        }
        for name, values in (("min", self.minimum), ("max", self.maximum), ("mean", self.mean), ("std", std)):
            parts[name] = [value if there else None for value, there in zip(values.tolist(), present, strict=True)]
        return {name: part[0] if len(part) == 1 else part for name, part in parts.items()}

    def _parts(self) -> tuple[Floats, ...]:
        return self.count, self.missing, self.minimum, self.maximum, self.mean, self.squares


@dataclass(slots=True)
class Statistics:
    """Statistics of all columns of some records, and the classes of the label."""

    records: int = 0
    columns: dict[str, Moments] = field(default_factory=dict)
    classes: Counter[str | int] | None = field(default_factory=Counter)
    """How often each label occurs; None once there are too many, or they are no classes."""

    def add(self, columns: Columns, label: str | None) -> None:
        """Take in a block of records; of text and bytes the lengths are looked at."""
        block = Statistics(_rows(columns), {}, _classes(columns.get(label or "")))
        for name, column in columns.items():
            if not name.startswith("__"):
                block.columns[name] = _moments(column)
        self.merge(block)

    def merge(self, other: "Statistics") -> None:
        """Take in others."""
        if not other.records:
            return
        for name, moments in other.columns.items():
            mine = self.columns.get(name)
            if mine is None:
                self.columns[name] = moments
            elif len(mine.count) == len(moments.count):
                self.columns[name] = mine.merge(moments)
            else:
                self.columns[name] = mine.together().merge(moments.together())
        if self.classes is not None and other.classes is not None:
            self.classes.update(other.classes)
            self.classes = self.classes if len(self.classes) <= MAX_CLASSES else None
        else:
            self.classes = None
        self.records += other.records

    def to_json(self) -> dict[str, Any]:
        """As JSON, without loss."""
        return {
            "records": self.records,
            "columns": {name: moments.to_json() for name, moments in self.columns.items()},
            "classes": None if self.classes is None else sorted(self.classes.items(), key=_order),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Statistics":
        """Undo `to_json`."""
        classes = content["classes"]
        return cls(
            content["records"],
            {name: Moments.from_json(parts) for name, parts in content["columns"].items()},
            None if classes is None else Counter({value: count for value, count in classes}),  # noqa: C416 - lists
        )

    def summary(self) -> dict[str, Any]:
        """What `index.json` says."""
        found: dict[str, Any] = {
            "records": self.records,
            "columns": {name: moments.summary() for name, moments in self.columns.items()},
        }
        if self.classes:
            found["classes"] = [{"value": value, "count": n} for value, n in sorted(self.classes.items(), key=_order)]
        return found


def _order(item: tuple[str | int, int]) -> tuple[bool, int, str]:
    value = item[0]
    return (False, value, "") if isinstance(value, int) else (True, 0, value)


def _rows(columns: Columns) -> int:
    return len(next(iter(columns.values()))) if columns else 0


def _moments(column: Column) -> Moments:
    if not isinstance(column, np.ndarray):
        arrays = [np.asarray(value) for value in column if isinstance(value, np.ndarray)]
        if len(arrays) == len(column) and arrays:
            return _of_ragged(arrays)
        return Moments.of(np.array([[float(len(value))] for value in column]))
    if column.dtype == np.uint8 and column.ndim >= 2 and (column.ndim > 2 or column.shape[1] > MAX_ELEMENTS):
        return Moments.of_bytes(column.reshape(-1, _channels(column)))
    rows = column.reshape(len(column), -1).astype(np.float64)
    if rows.shape[1] <= MAX_ELEMENTS:
        return Moments.of(rows)
    return Moments.of(rows.reshape(-1, 1))


def _of_ragged(arrays: list[NDArray[Any]]) -> Moments:
    """Images of several sizes: a statistic a channel; other arrays: all values together."""
    channels = {_channels(array[None]) for array in arrays}
    width = channels.pop() if len(channels) == 1 else 1
    if all(array.dtype == np.uint8 for array in arrays):
        parts = [Moments.of_bytes(array.reshape(-1, width)) for array in arrays if array.size]
    else:
        parts = [Moments.of(array.reshape(-1, 1).astype(np.float64)) for array in arrays if array.size]
    found = Moments.of(np.zeros((0, width))) if not parts else parts[0]
    for part in parts[1:]:
        found = found.merge(part)
    return found


def _channels(column: NDArray[Any]) -> int:
    """Colours of pixels `[n, height, width, channels]`; 1 for anything else."""
    return int(column.shape[-1]) if column.ndim == 4 and 0 < column.shape[-1] <= _CHANNELS else 1


def _classes(column: Column | None) -> Counter[str | int] | None:
    if column is None:
        return Counter()
    values: list[Any] = list(column) if not isinstance(column, np.ndarray) else column.tolist()
    if isinstance(column, np.ndarray):
        if column.ndim != 1 or (column.dtype.kind == "f" and not np.isin(np.mod(column, 1), 0).all()):
            return None
        values = column.astype(np.int64).tolist() if column.dtype.kind in "fiub" else values
    return Counter(values) if all(isinstance(value, (str, int)) for value in values) else None
