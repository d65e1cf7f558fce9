"""Drift of a stated size is found, and none where there is none; on seeded windows, of which benchmarks/ has more."""

import sys
from pathlib import Path

import numpy as np
import pytest
from twofold.monitor.drift import METHODS

FEATURES = 8


@pytest.fixture(scope="module")
def windows():
    """The module that the benchmark draws its windows by."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks" / "monitor")
        import windows

        yield windows
    del sys.modules["windows"]


def counted(windows, *, baseline_rows, number, rows, shift, seed):
    baseline = windows.baseline_of(np.random.default_rng(0), baseline_rows, FEATURES)
    rng = np.random.default_rng(seed)
    blocks = (windows.rows(rng, rows, FEATURES, shift) for _ in range(number))
    return windows.alarms(baseline, blocks, rows)


def test_few_windows(windows):
    """So few rows that sketches keep them all, and chance has no part in what comes out."""
    found = counted(windows, baseline_rows=1500, number=40, rows=500, shift=0.0, seed=1)
    assert {method: anything for method, (anything, _) in found.items()} == dict.fromkeys(METHODS, 0)
    found = counted(windows, baseline_rows=1500, number=10, rows=500, shift=1.0, seed=2)
    assert {method: right for method, (_, right) in found.items()} == dict.fromkeys(METHODS, 10)
    found = counted(windows, baseline_rows=1500, number=10, rows=500, shift=0.4, seed=3)
    assert found["test"][1] >= 9


@pytest.mark.slow
@pytest.mark.parametrize("rows", [200, 1000])
def test_a_thousand_windows_without_drift(windows, rows):
    """At most one in a hundred is reported, by any method."""
    found = counted(windows, baseline_rows=50_000, number=1000, rows=rows, shift=0.0, seed=4)
    assert all(anything <= 10 for anything, _ in found.values()), found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "rows", "shift"),
    [("test", 1000, 0.25), ("test", 200, 0.6), ("distance", 1000, 0.6), ("distance", 5000, 0.4), ("psi", 1000, 0.7)],
)
def test_drift_of_a_stated_size_is_found(windows, method, rows, shift):
    """In 95 of 100 windows at least."""
    found = counted(windows, baseline_rows=50_000, number=100, rows=rows, shift=shift, seed=5)
    assert found[method][1] >= 95, found
