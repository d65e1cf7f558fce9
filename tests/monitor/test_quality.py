"""Metrics against scikit-learn, from captured lines with ground truth; merged; held against bounds."""

import json

import numpy as np
import pytest
from sklearn import metrics as sk
from twofold.monitor.align import Alignment
from twofold.monitor.capture import Window, read_captured
from twofold.monitor.quality import Quality, check_quality, propose
from twofold.monitor.traffic import Traffic, read_traffic


def read(traffic, answers, truths, kind="text/csv", encoding="CSV", problem=None):
    """Quality of answers in two hours, merged by way of JSON."""
    lines = [
        traffic.line("0", answer, truth=truth, kind=kind, encoding=encoding, time=f"2026-11-25T{13 + place % 2}:00:00Z")
        for place, (answer, truth) in enumerate(zip(answers, truths, strict=True))
    ]
    traffic.write("2026-11-25T13", lines)
    found = read_traffic(read_captured(traffic.folder, Window()), Alignment(), problem)
    assert len(found.quality) == 2
    whole = Traffic()
    whole.merge(Traffic.from_json(json.loads(json.dumps(found.to_json()))))
    return whole


def test_regression(traffic):
    rng = np.random.default_rng(1)
    truth = rng.normal(10, 2, 300).round(3)
    answer = (truth + rng.normal(0, 0.5, 300)).round(3)
    found = read(traffic, map(str, answer), map(str, truth)).whole_quality().metrics()["regression_metrics"]
    assert found["mae"]["value"] == pytest.approx(sk.mean_absolute_error(truth, answer))
    assert found["mae"]["standard_deviation"] == pytest.approx(np.abs(truth - answer).std() / np.sqrt(300))
    assert found["mse"]["value"] == pytest.approx(sk.mean_squared_error(truth, answer))
    assert found["r2"]["value"] == pytest.approx(sk.r2_score(truth, answer))
    assert found["rmse"]["value"] == pytest.approx(np.sqrt(found["mse"]["value"]))


@pytest.mark.parametrize("form", ["csv", "json", "score"])
def test_two_classes(traffic, form):
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 2, 500)
    score = np.clip(truth * 0.3 + rng.random(500) * 0.7, 0, 1).round(4)
    problem = "BinaryClassification" if form == "score" else None
    if form == "csv":
        options, answers = {}, [f"{1 - value:.4f},{value:.4f}" for value in score]
    elif form == "json":
        options = {"kind": "application/json", "encoding": "JSON"}
        answers = [json.dumps({"predictions": [[round(1 - value, 4), value]]}) for value in score.tolist()]
    else:
        options, answers = {}, map(str, score)
    found = read(traffic, answers, map(str, truth), problem=problem, **options).whole_quality().metrics()
    found = found["binary_classification_metrics"]
    said = score >= 0.5 if form == "score" else score > 0.5
    assert found["auc"]["value"] == pytest.approx(sk.roc_auc_score(truth, score.astype(np.float32)))
    for name in ("accuracy", "precision", "recall", "f1"):
        truly = getattr(sk, f"{name}_score")(truth, said)
        assert found[name]["value"] == pytest.approx(truly)
    table = sk.confusion_matrix(truth, said)
    assert [[found["confusion_matrix"][a][b] for b in "01"] for a in "01"] == table.tolist()
    rates = found["receiver_operating_characteristic_curve"]
    assert rates["false_positive_rates"][-1] == rates["true_positive_rates"][-1] == 1


def test_names_of_classes(traffic):
    rng = np.random.default_rng(3)
    names = np.array(["cat", "dog", "eel"])
    truth, said = rng.integers(0, 3, 300), rng.integers(0, 3, 300)
    answers = [json.dumps({"predictions": [np.eye(3)[place].tolist()], "labels": [names[place]]}) for place in said]
    whole = read(traffic, answers, names[truth], kind="application/json", encoding="JSON")
    found = whole.whole_quality().metrics()["multiclass_classification_metrics"]
    assert found["accuracy"]["value"] == pytest.approx(sk.accuracy_score(truth, said))
    truly = sk.precision_recall_fscore_support(truth, said, average="weighted")
    for name, value in zip(("weighted_precision", "weighted_recall", "weighted_f1"), truly[:3], strict=True):
        assert found[name]["value"] == pytest.approx(value)
    # What was true is a feature, too: its drift is that of the label.
    assert whole.whole().features["label"].texts.categories.total() == 300


def test_several_rows_in_one_request(traffic):
    found = read(traffic, ["1\n2\n3", "4"], ["1\n2\n5", "4"]).whole_quality()
    assert found.count == 4
    assert found.metrics()["regression_metrics"]["mae"]["value"] == 0.5


def test_truths_that_fit_no_answers_are_counted(traffic):
    whole = read(traffic, ["1", "2", "3", "4"], ["1", "2", "3\n9", "4"])
    assert whole.whole_quality().count == 3
    assert whole.malformed == 1
    assert "2 values of ground truth for 1 answers" in whole.first_malformed


def test_bounds():
    before = {"regression_metrics": {"mae": {"value": 1.0, "standard_deviation": 0.1}, "r2": {"value": 0.9}}}
    bounds = propose(before)
    assert bounds["regression_constraints"]["mae"].comparison_operator == "GreaterThanThreshold"
    assert check_quality(before, bounds) == []
    chance = {"regression_metrics": {"mae": {"value": 1.2, "standard_deviation": 0.1}, "r2": {"value": 0.95}}}
    assert check_quality(chance, bounds) == []
    worse = {"regression_metrics": {"mae": {"value": 1.5, "standard_deviation": 0.1}, "r2": {"value": 0.5}}}
    found = check_quality(worse, bounds)
    assert [(part.metric_name, part.constraint_check_type) for part in found] == [
        ("mae", "GreaterThanThreshold"),
        ("r2", "LessThanThreshold"),
    ]


def test_no_truth_no_metrics():
    assert Quality().metrics() == {}
