"""Every kind of check, broken and kept."""

import numpy as np
import pyarrow as pa
import pytest
from twofold.baseline.schema import Constraints, FeatureConstraints, Overrides
from twofold.baseline.statistics import constraints_of, statistics_of
from twofold.baseline.summary import Summary
from twofold.monitor.checks import Baseline, check
from twofold.monitor.profiles import profile_of_statistics

ROWS = 1000


def columns(rng, **changed):
    block = {
        "n": rng.integers(0, 9, ROWS).astype(float),
        "x": rng.normal(size=ROWS),
        "s": pa.array(rng.choice(["a", "b", "c"], ROWS)),
        "label": rng.normal(size=ROWS),
    }
    block.update(changed)
    return {name: values for name, values in block.items() if values is not None}


def summed(block):
    summary = Summary()
    summary.add(block, ROWS)
    return summary


@pytest.fixture(scope="module")
def baseline():
    summary = summed(columns(np.random.default_rng(1)))
    profiles = {part.name: profile_of_statistics(part) for part in statistics_of(summary).features}
    return Baseline(constraints_of(summary), profiles, "label")


def found(baseline, **changed):
    window = summed(columns(np.random.default_rng(2), label=None, **changed))
    return {(part.feature_name, part.constraint_check_type) for part in check(window, baseline).violations}


def test_traffic_like_the_training_data_breaks_nothing(baseline):
    assert found(baseline) == set()


def test_fractions_in_whole_numbers(baseline):
    values = np.random.default_rng(3).integers(0, 9, ROWS) + np.where(np.arange(ROWS) % 5 == 0, 0.001, 0)
    assert found(baseline, n=values) == {("n", "data_type_check")}


def test_text_in_numbers(baseline):
    window = summed(columns(np.random.default_rng(2), label=None, x=np.random.default_rng(2).normal(size=800)))
    window.add({"x": pa.array(["?"] * 200)}, 0)
    violations = check(window, baseline).violations
    assert [(part.feature_name, part.constraint_check_type) for part in violations] == [("x", "data_type_check")]
    assert "Observed: Only 80% of data is Fractional" in violations[0].description


def test_missing_values(baseline):
    values = np.random.default_rng(3).normal(size=ROWS)
    values[:100] = np.nan
    assert found(baseline, x=values) == {("x", "completeness_check")}


def test_requests_that_lack_a_feature_lack_its_values(baseline):
    assert found(baseline, x=np.random.default_rng(3).normal(size=ROWS // 2)) == {("x", "completeness_check")}


def test_columns(baseline):
    assert found(baseline, x=None) == {("Missing columns", "missing_column_check")}
    assert found(baseline, y=np.zeros(ROWS)) == {("Extra columns", "extra_column_check")}


def test_only_answers_miss_no_columns(baseline):
    window = Summary()
    window.add({"prediction": np.random.default_rng(2).normal(size=ROWS)}, 0)
    assert check(window, baseline).violations == []


def test_texts_outside_the_domain(baseline):
    texts = pa.array(["a", "b", "c", "d"] * (ROWS // 4))
    assert ("s", "categorical_values_check") in found(baseline, s=texts)


def test_negative_numbers(baseline):
    values = np.random.default_rng(3).integers(0, 9, ROWS).astype(float)
    values[0] = -1
    assert found(baseline, n=values) == {("n", "data_type_check")}


def test_drift(baseline):
    assert found(baseline, x=np.random.default_rng(3).normal(1, 1, ROWS)) == {("x", "baseline_drift_check")}


def test_predictions_drift_from_what_training_asked_for(baseline):
    rng = np.random.default_rng(4)
    assert found(baseline, prediction=rng.normal(size=ROWS)) == set()
    assert found(baseline, prediction=rng.normal(1, 1, ROWS)) == {("prediction", "baseline_drift_check")}


def test_a_feature_may_be_left_alone(baseline):
    silent = Overrides(evaluate_constraints="Disabled", distribution_constraints={"perform_comparison": "Disabled"})
    features = [
        part.model_copy(update={"overrides": silent}) if part.name == "x" else part
        for part in baseline.constraints.features
    ]
    other = Baseline(Constraints(features=features), baseline.profiles, "label")
    assert found(other, x=np.full(ROWS, np.nan)) == set()


def test_completeness_allows_for_chance():
    """Of a feature that is there in half of a million rows, a window of 100 has 45 by chance."""
    constraints = Constraints(features=[FeatureConstraints(name="x", inferred_type="Fractional", completeness=0.5)])
    window = Summary()
    window.add({"x": np.where(np.arange(100) < 45, 1.5, np.nan)}, 100)
    assert check(window, Baseline(constraints, {})).violations == []
    worse = Summary()
    worse.add({"x": np.where(np.arange(100) < 30, 1.5, np.nan)}, 100)
    assert len(check(worse, Baseline(constraints, {})).violations) == 1
