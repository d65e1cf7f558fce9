"""Windows of traffic with and without drift, seeded: what the measurements of power and false alarms are made on."""

from collections.abc import Callable, Iterable

import numpy as np
import pyarrow as pa
from twofold.baseline.statistics import constraints_of, statistics_of
from twofold.baseline.summary import Block, Summary
from twofold.monitor.checks import Baseline, check
from twofold.monitor.drift import METHODS, Method
from twofold.monitor.profiles import profile_of_statistics

DRIFTING = 0
"""Number of the feature that drifts, if any does."""
_CITIES = np.array(["Bern", "Chur", "Genf", "Lugano", "Zug"])
_SHARES = np.array([0.4, 0.25, 0.2, 0.1, 0.05])


def rows(rng: np.random.Generator, count: int, features: int, shift: float = 0.0) -> Block:
    """Draw rows: normal, skewed, whole and categorical features in turn; the first moves by `shift` deviations."""
    kinds: list[Callable[[], np.ndarray | pa.StringArray]] = [
        lambda: rng.normal(size=count),
        lambda: rng.lognormal(size=count),
        lambda: rng.poisson(4, count).astype(np.float64),
        lambda: pa.array(rng.choice(_CITIES, count, p=_SHARES)),
    ]
    block = {f"x{number}": kinds[number % len(kinds)]() for number in range(features)}
    block[f"x{DRIFTING}"] = block[f"x{DRIFTING}"] + shift
    return block


def summed(block: Block, count: int) -> Summary:
    """Sum up rows."""
    summary = Summary()
    summary.add(block, count)
    return summary


def baseline_of(rng: np.random.Generator, count: int, features: int) -> Baseline:
    """Baseline of rows without drift, by way of the platform's files."""
    summary = summed(rows(rng, count, features), count)
    profiles = {part.name: profile_of_statistics(part) for part in statistics_of(summary).features}
    return Baseline(constraints_of(summary), profiles)


def alarms(baseline: Baseline, windows: Iterable[Block], count: int) -> dict[Method, tuple[int, int]]:
    """Count, by method, windows in which any feature is reported, and those in which the drifting one is."""
    found: dict[Method, tuple[int, int]] = dict.fromkeys(METHODS, (0, 0))
    for block in windows:
        drifts = check(summed(block, count), baseline).drifts
        for method, (anything, right) in found.items():
            names = {drift.name for drift in drifts if drift.drifted(method)}
            found[method] = anything + bool(names), right + (f"x{DRIFTING}" in names)
    return found
