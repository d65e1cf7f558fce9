"""Distances against scipy and known values; no drift without drift."""

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from twofold.baseline.schema import DistributionConstraints, FeatureStatistics
from twofold.baseline.statistics import statistics_of
from twofold.baseline.summary import Feature, Summary
from twofold.monitor.drift import ALPHA, Drift, compare, correct
from twofold.monitor.profiles import Profile, profile_of_feature, profile_of_statistics

CONFIG = DistributionConstraints()


def profile(values):
    feature = Feature()
    feature.add(np.asarray(values, dtype=np.float64))
    return profile_of_feature(feature, Profile())


def counts(**categories):
    return Profile(categories=categories)


def test_distance_and_p_are_scipys():
    rng = np.random.default_rng(1)
    before, now = rng.normal(size=1500), rng.normal(0.2, 1, size=700)
    found = compare("x", profile(before), profile(now), CONFIG)
    truth = stats.ks_2samp(before, now, method="asymp")
    assert found.simple == pytest.approx(truth.statistic, abs=1e-9)
    assert found.p == pytest.approx(truth.pvalue, rel=0.5)
    assert found.distance == pytest.approx(truth.statistic - 1.8 * np.sqrt(2200 / (1500 * 700)))


def test_chi_square_is_scipys():
    found = compare("s", counts(a=500, b=300, c=200), counts(a=60, b=20, c=20), CONFIG)
    truth = stats.chi2_contingency([[500, 300, 200], [60, 20, 20]])
    assert found.p == pytest.approx(truth.pvalue)
    assert found.simple == pytest.approx(0.1)


def test_rare_categories_are_taken_together():
    before = counts(**{f"k{place}": 1 for place in range(500)})
    now = counts(**{f"k{place}": 1 for place in range(500, 1000)})
    assert compare("s", before, now, CONFIG).p == 1


def test_the_psi_of_a_known_shift():
    shares = np.array([0.5, 0.5]), np.array([0.8, 0.2])
    truth = ((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum()
    assert compare("s", counts(a=50, b=50), counts(a=80, b=20), CONFIG).psi == pytest.approx(truth)


def test_the_threshold_of_the_psi_grows_as_windows_shrink():
    """The mean index of 50 values without drift is 0.18 over ten bins."""
    rng = np.random.default_rng(4)
    before = profile(rng.normal(size=2000))
    small = [compare("x", before, profile(rng.normal(size=50)), CONFIG) for _ in range(100)]
    assert sum(drift.psi > 0.2 for drift in small) > 5
    assert not any(drift.drifted("psi") for drift in small)
    large = compare("x", before, profile(rng.normal(size=2000)), CONFIG)
    assert large.psi_threshold < 0.25 < small[0].psi_threshold


def test_a_large_window_without_drift_is_not_found_different():
    """A million values each: chance explains 0.003, and so may the sketches."""
    rng = np.random.default_rng(2)
    before, now = profile(rng.normal(size=1_000_000)), profile(rng.normal(size=1_000_000))
    assert compare("x", before, now, CONFIG).p > 0.01


def test_methods_judge():
    drift = Drift("x", 100, 0.5, 0.4, 0.1, 0.3, 0.2, 1e-9, 1e-8)
    assert [drift.drifted(method) for method in ("distance", "psi", "test")] == [True] * 3
    calm = Drift("x", 100, 0.1, 0.05, 0.1, 0.1, 0.2, 0.1, ALPHA)
    assert [calm.drifted(method) for method in ("distance", "psi", "test")] == [False] * 3
    assert drift.describe("distance") == "Baseline drift distance: 0.4 exceeds threshold: 0.1"


def test_simple_takes_nothing_off():
    config = DistributionConstraints(comparison_method="linf_simple")
    found = compare("x", profile([1, 2]), profile([3, 4]), config)
    assert (found.distance, found.simple) == (1, 1)
    assert compare("x", profile([1, 2]), profile([3, 4]), CONFIG).distance == 0


def test_the_platforms_chi_square_is_a_p():
    config = DistributionConstraints(categorical_drift_method="ChiSquared")
    found = compare("s", counts(a=500, b=500), counts(a=100, b=5), config)
    assert found.chi_squared
    assert found.drifted("distance")
    assert "p-value" in found.describe("distance")
    assert not compare("s", counts(a=500, b=500), counts(a=50, b=50), config).drifted("distance")


def test_holm():
    drifts = [Drift(str(p), 1, 0, 0, 0, 0, 0, p, p) for p in (0.04, 0.01, 0.03)]
    assert [drift.corrected for drift in correct(drifts)] == pytest.approx([0.06, 0.03, 0.06])


def test_profiles_through_the_platforms_file():
    summary = Summary()
    values = np.random.default_rng(3).normal(size=30_000)
    summary.add({"x": values, "s": pa.array(["a", "b", "b"] * 10_000)}, 30_000)
    summary.add({"free": pa.array([f"text {place}" for place in range(2000)])}, 0)
    content = [
        FeatureStatistics.model_validate_json(part.model_dump_json()) for part in statistics_of(summary).features
    ]
    x, s, free = (profile_of_statistics(part) for part in content)
    assert np.abs(x.numbers.at(np.sort(values)) - np.arange(1, 30_001) / 30_000).max() < 0.005
    assert x.count == 30_000
    assert s.categories == {"a": 10_000, "b": 20_000}
    assert free.lengths
    assert compare("free", free, profile_of_feature(summary.features["free"], free), CONFIG).simple == 0


def test_statistics_without_a_sketch_have_their_buckets():
    content = {
        "name": "x",
        "numerical_statistics": {
            "common": {"num_present": 10},
            "distribution": {"kll": {"buckets": [{"lower_bound": 0, "upper_bound": 1, "count": 10}]}},
        },
    }
    found = profile_of_statistics(FeatureStatistics.model_validate(content))
    assert (found.count, round(found.numbers.quantile(0.5), 1)) == (10, 0.5)


def test_nothing_to_compare():
    assert compare("x", Profile(), profile([1.0]), CONFIG) is None
