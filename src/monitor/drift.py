"""How far the distribution of a feature has moved from the baseline.

distance  L-infinity between the two staircases, or the largest difference of a category's share; `Robust`, the
          platform's default, takes off what chance explains: 1.8 sqrt((n + m) / (n m))
psi       population stability index over the deciles of the baseline, or over its categories; its threshold is 0.2
          beyond what chance explains in a window of this size
p         Kolmogorov-Smirnov or chi-square, asymptotic; corrected for the number of features by Holm's method

A sketch knows ranks within an error; the test takes the errors of both off first, or a large enough window would always
be found different.

Source: deequ, Distance.scala (what the platform runs); Holm, "A simple sequentially rejective multiple test
procedure", 1979.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import special

from ..baseline.quantiles import Distribution, Floats
from ..baseline.schema import DistributionConstraints
from .profiles import Profile

Method = Literal["distance", "psi", "test"]
METHODS: tuple[Method, ...] = ("distance", "psi", "test")
PSI_THRESHOLD = 0.2
"""The usual bound for a population that has changed."""
ALPHA = 0.001
"""Chance that a window without any drift is reported by `test`, over all its features."""
MIN_EXPECTED = 5
"""Least expected count of a category in the chi-square test; rarer ones are taken together."""
_DECILES = np.linspace(0.1, 0.9, 9)
_ROBUST = 1.8
_PSI_CHANCE = 1e-4
"""Chance that the index of a feature without drift is above what is taken off."""


@dataclass(frozen=True, slots=True)
class Drift:
    """One feature of one window against the baseline."""

    name: str
    count: int
    """Values in the window."""
    simple: float
    """Largest difference of the distributions."""
    distance: float
    """The same as the constraints want it: simple or robust."""
    threshold: float
    psi: float
    psi_threshold: float
    p: float
    corrected: float
    """p, corrected for the number of features."""
    chi_squared: bool = False
    """Whether `distance` is the p of a chi-square test, which is low where there is drift."""

    def drifted(self, method: Method) -> bool:
        """Judge by one of the methods."""
        if method == "psi":
            return self.psi > self.psi_threshold
        if method == "test":
            return self.corrected < ALPHA
        return self.distance < self.threshold if self.chi_squared else self.distance > self.threshold

    def bound(self, method: Method) -> float | None:
        """Threshold of the number that is drawn for a method; a test draws the distance, which has none."""
        return {"distance": self.threshold, "psi": self.psi_threshold, "test": None}[method]

    def describe(self, method: Method) -> str:
        """Say it in the platform's words, or in like ones."""
        if method == "psi":
            return f"Population stability index: {self.psi:.4g} exceeds threshold: {self.psi_threshold:.4g}"
        if method == "test":
            return (
                f"Baseline drift distance: {self.simple:.4g}, p-value corrected for all features: {self.corrected:.3g} "
                f"is below threshold: {ALPHA}"
            )
        if self.chi_squared:
            return f"Baseline drift p-value: {self.distance:.4g} is below threshold: {self.threshold}"
        return f"Baseline drift distance: {self.distance:.4g} exceeds threshold: {self.threshold}"


def compare(name: str, before: Profile, now: Profile, config: DistributionConstraints) -> Drift | None:
    """Compare a window with the baseline; None where one of them has no value."""
    n, m = before.count, now.count
    if not n or not m:
        return None
    chi_squared = False
    if before.numbers is not None and now.numbers is not None:
        simple, psi, bins, p = _numbers(before.numbers, now.numbers)
        threshold = config.comparison_threshold
    else:
        simple, psi, bins, p = _categories(before.categories or {}, now.categories or {})
        threshold = config.categorical_comparison_threshold
        chi_squared = config.categorical_drift_method == "ChiSquared"
    robust = config.comparison_method in {"Robust", "linf_robust"}
    distance = max(0.0, simple - _ROBUST * math.sqrt((n + m) / (n * m))) if robust else simple
    psi_threshold = (
        PSI_THRESHOLD + float(special.chdtri(bins - 1, _PSI_CHANCE)) * (1 / n + 1 / m) if bins > 1 else math.inf
    )
    return Drift(
        name, m, simple, p if chi_squared else distance, threshold, psi, psi_threshold, p, p, chi_squared
    )  # fmt: skip


def correct(drifts: Sequence[Drift]) -> list[Drift]:
    """Correct for having looked at many features, by Holm's method."""
    order = sorted(range(len(drifts)), key=lambda place: drifts[place].p)
    found, largest = list(drifts), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(drifts) - rank) * drifts[place].p))
        found[place] = replace(drifts[place], corrected=largest)
    return found


def _numbers(before: Distribution, now: Distribution) -> tuple[float, float, int, float]:
    steps = np.union1d(before.values, now.values)
    simple = float(np.abs(before.at(steps) - now.at(steps)).max())
    edges = np.unique([before.quantile(share) for share in _DECILES])
    bins = [np.diff(np.concatenate(([0.0], side.at(edges), [1.0]))) for side in (before, now)]
    n, m = before.count, now.count
    beyond = max(0.0, simple - before.rank_error - now.rank_error)
    return (
        simple,
        _psi(bins[0], bins[1], n, m),
        len(bins[0]),
        float(special.kolmogorov(beyond * math.sqrt(n * m / (n + m)))),
    )


def _categories(before: Mapping[str, int], now: Mapping[str, int]) -> tuple[float, float, int, float]:
    names = sorted(before.keys() | now.keys())
    table = np.array([[side.get(name, 0) for name in names] for side in (before, now)], dtype=np.float64)
    n, m = table.sum(axis=1)
    shares = table / table.sum(axis=1, keepdims=True)
    return float(np.abs(shares[0] - shares[1]).max()), _psi(shares[0], shares[1], n, m), len(names), _chi_square(table)


def _psi(before: Floats, now: Floats, n: float, m: float) -> float:
    """Stability index; a share of nothing counts as half an observation, or it would be infinite."""
    first, second = np.maximum(before, 0.5 / n), np.maximum(now, 0.5 / m)
    return float(((second - first) * np.log(second / first)).sum())


def _chi_square(table: Floats) -> float:
    """P of a table of two rows, categories that are too rare taken together."""
    total = table.sum(axis=0)
    rare = total * table.sum(axis=1).min() / total.sum() < MIN_EXPECTED
    table = np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)]) if rare.any() else table
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return 1.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    return float(special.chdtrc(table.shape[1] - 1, (np.square(table - expected) / expected).sum()))
