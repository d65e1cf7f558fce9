"""How good answers were, in one pass and constant memory; hours and hosts are merged.

Regression: mean absolute and squared error, R squared. Classification: a confusion matrix; for two classes the ROC
curve, read from one sketch of the scores of each class.

Source of the names: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-metrics.html.
"""

import math
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ..baseline.quantiles import Distribution, Quantiles
from ..baseline.schema import MetricConstraint, Violation
from ..baseline.summary import Floats, Moments
from .observations import Observations, as_names

Problem = Literal["Regression", "BinaryClassification", "MulticlassClassification"]
PROBLEMS: tuple[Problem, ...] = ("Regression", "BinaryClassification", "MulticlassClassification")
MAX_CLASSES = 200
"""Most classes of a confusion matrix; others count as `other`."""
THRESHOLD = 0.5
"""Score from which a single number is the second of two classes."""
_OTHER, _POINTS, _NAN = "other", 101, "NaN"
_ERRORS = frozenset({"mae", "mse", "rmse", "false_positive_rate", "false_negative_rate"})


@dataclass(slots=True)
class Quality:
    """What is known of answers with their truth."""

    problem: Problem | None = None
    """None: the first answers tell."""
    absolute: float = 0.0
    """Sum of absolute errors."""
    squares: float = 0.0
    """Sum of squared errors."""
    truth: Moments = field(default_factory=Moments)
    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often a class, the first, was taken for another, the second."""
    scores: dict[str, Quantiles] = field(default_factory=dict)
    """Of two classes: scores of the second one, by what was true."""

    @property
    def count(self) -> int:
        """Answers with their truth."""
        return self.truth.count + sum(self.confusion.values())

    def add(self, rows: Observations) -> None:
        """Take in answers."""
        answers, truth = rows.answers, rows.truth
        plain = isinstance(answers.prediction, np.ndarray) and answers.scores is None
        if self.problem is None:
            several = answers.scores is not None and answers.scores.shape[1] > 2
            self.problem = (
                "Regression"
                if plain and isinstance(truth, np.ndarray)
                else "MulticlassClassification"
                if several or answers.scores is None
                else "BinaryClassification"
            )
        if self.problem == "Regression":
            if plain and isinstance(truth, np.ndarray):
                self._add_numbers(answers.prediction, truth)
            return
        score = None
        predicted = answers.prediction
        if self.problem == "BinaryClassification":
            if plain:
                score = predicted
                predicted = (predicted >= THRESHOLD).astype(np.float64)
            elif answers.scores is not None:
                score = answers.scores[:, 1]
        self._add_classes(as_names(predicted), as_names(truth), score)

    def _add_numbers(self, predicted: Floats, truth: Floats) -> None:
        there = np.isfinite(predicted) & np.isfinite(truth)
        error = predicted[there] - truth[there]
        self.absolute += float(np.abs(error).sum())
        self.squares += float(error @ error)
        self.truth.merge(Moments.of(truth[there]))

    def _add_classes(self, predicted: Sequence[str | None], truth: Sequence[str | None], score: Floats | None) -> None:
        places: dict[str, list[int]] = {}
        for place, (known, said) in enumerate(zip(truth, predicted, strict=True)):
            if known is not None and said is not None:
                self.confusion[self._bounded(known), self._bounded(said)] += 1
                places.setdefault(known, []).append(place)
        for known, chosen in places.items() if score is not None else ():
            if known in self.scores or len(self.scores) < MAX_CLASSES:
                self.scores.setdefault(known, Quantiles()).add(score[chosen])  # type: ignore[index]

    def _bounded(self, name: str) -> str:
        known = {name for pair in self.confusion for name in pair} if len(self.confusion) >= MAX_CLASSES else set()
        return name if len(known) < MAX_CLASSES or name in known else _OTHER

    def merge(self, other: "Quality") -> None:
        """Take in others."""
        self.problem = self.problem or other.problem
        self.absolute += other.absolute
        self.squares += other.squares
        self.truth.merge(other.truth)
        self.confusion.update(other.confusion)
        for name, sketch in other.scores.items():
            self.scores.setdefault(name, Quantiles()).merge(sketch)

    def to_json(self) -> dict[str, Any]:
        """As JSON, without loss."""
        truth = self.truth
        bounds = [truth.minimum, truth.maximum] if truth.count else []
        return {
            "problem": self.problem,
            "errors": [self.absolute, self.squares],
            "truth": [truth.count, truth.mean, truth.squares, *bounds],
            "confusion": [[*pair, count] for pair, count in self.confusion.items()],
            "scores": {name: b64encode(sketch.to_bytes()).decode() for name, sketch in self.scores.items()},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Quality":
        """Undo `to_json`."""
        absolute, squares = content["errors"]
        return cls(
            content["problem"],
            absolute,
            squares,
            Moments(*content["truth"]),
            Counter({(known, said): count for known, said, count in content["confusion"]}),
            {name: Quantiles(b64decode(part)) for name, part in content["scores"].items()},
        )

    def metrics(self) -> dict[str, dict[str, Any]]:
        """Metrics under the platform's name for the problem; nothing where there is no truth."""
        if not self.count or self.problem is None:
            return {}
        if self.problem == "Regression":
            return {"regression_metrics": _regression(self)}
        if self.problem == "BinaryClassification":
            return {"binary_classification_metrics": _binary(self)}
        return {"multiclass_classification_metrics": _multiclass(self.confusion)}


def propose(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, MetricConstraint]]:
    """Propose that later answers are at least as good."""
    return {
        name.replace("_metrics", "_constraints"): {
            metric: MetricConstraint(
                threshold=part["value"],
                comparison_operator="GreaterThanThreshold" if metric in _ERRORS else "LessThanThreshold",
            )
            for metric, part in group.items()
            if isinstance(part.get("value"), float)
        }
        for name, group in metrics.items()
    }


def check_quality(
    metrics: Mapping[str, Mapping[str, Any]], bounds: Mapping[str, Mapping[str, MetricConstraint] | None]
) -> list[Violation]:
    """Hold metrics against their bounds; three standard errors beyond one are chance where they are known."""
    found = []
    for name, group in metrics.items():
        for metric, bound in (bounds.get(name.replace("_metrics", "_constraints")) or {}).items():
            part = group.get(metric, {})
            value, error = part.get("value"), part.get("standard_deviation")
            if not isinstance(value, float):
                continue
            slack = 3 * error if isinstance(error, float) else 0.0
            worse = value - bound.threshold
            worse = worse if bound.comparison_operator == "GreaterThanThreshold" else -worse
            if worse > slack + 1e-12:
                operator = bound.comparison_operator
                text = f"Metric {metric} with {value:.6g} +/- {error} was {operator} {bound.threshold:.6g}"
                found.append(Violation(metric_name=metric, constraint_check_type=operator, description=text))
    return found


def _metric(value: float, error: float | str = _NAN) -> dict[str, Any]:
    return {"value": float(value), "standard_deviation": error}


def _regression(quality: Quality) -> dict[str, Any]:
    count, spread = quality.truth.count, quality.truth.squares
    mae, mse = quality.absolute / count, quality.squares / count
    return {
        "mae": _metric(mae, math.sqrt(max(mse - mae * mae, 0.0) / count)),
        "mse": _metric(mse),
        "rmse": _metric(math.sqrt(mse)),
        "r2": _metric(1 - quality.squares / spread) if spread else {"value": _NAN, "standard_deviation": _NAN},
    }


def _matrix(confusion: Mapping[tuple[str, str], int]) -> tuple[list[str], Floats]:
    names = sorted({name for pair in confusion for name in pair})
    places = {name: place for place, name in enumerate(names)}
    table = np.zeros((len(names), len(names)))
    for (known, said), count in confusion.items():
        table[places[known], places[said]] = count
    return names, table


def _as_rows(names: list[str], table: Floats) -> dict[str, dict[str, int]]:
    return {name: dict(zip(names, map(int, row), strict=True)) for name, row in zip(names, table, strict=True)}


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0


def _accuracy(table: Floats) -> dict[str, Any]:
    total = float(table.sum())
    share = float(np.trace(table)) / total
    return _metric(share, math.sqrt(share * (1 - share) / total))


def _multiclass(confusion: Mapping[tuple[str, str], int]) -> dict[str, Any]:
    names, table = _matrix(confusion)
    weights = table.sum(axis=1) / table.sum()
    right = np.diag(table)
    recall = np.array([_share(part, whole) for part, whole in zip(right, table.sum(axis=1), strict=True)])
    precision = np.array([_share(part, whole) for part, whole in zip(right, table.sum(axis=0), strict=True)])
    f1 = np.array([_share(2 * p * r, p + r) for p, r in zip(precision, recall, strict=True)])
    return {
        "confusion_matrix": _as_rows(names, table),
        "accuracy": _accuracy(table),
        "weighted_recall": _metric(weights @ recall),
        "weighted_precision": _metric(weights @ precision),
        "weighted_f1": _metric(weights @ f1),
    }


def _binary(quality: Quality) -> dict[str, Any]:
    """Metrics of two classes; the positive one is the second by name."""
    names, table = _matrix(quality.confusion)
    positive = len(names) - 1
    tp = table[positive, positive]
    fn, fp = table[positive].sum() - tp, table[:, positive].sum() - tp
    tn = table.sum() - tp - fn - fp
    recall, precision = _share(tp, tp + fn), _share(tp, tp + fp)
    found = {
        "confusion_matrix": _as_rows(names, table),
        "accuracy": _accuracy(table),
        "recall": _metric(recall),
        "precision": _metric(precision),
        "f1": _metric(_share(2 * precision * recall, precision + recall)),
        "true_positive_rate": _metric(recall),
        "true_negative_rate": _metric(_share(tn, tn + fp)),
        "false_positive_rate": _metric(_share(fp, fp + tn)),
        "false_negative_rate": _metric(_share(fn, fn + tp)),
    }
    scores = sorted(quality.scores)
    if len(scores) == 2:
        lower, upper = (quality.scores[name].distribution() for name in scores)
        found |= _curves(lower, upper, tp + fn, fp + tn)
    return found


def _curves(negative: Distribution, positive: Distribution, positives: float, negatives: float) -> dict[str, Any]:
    steps = positive.values
    weights = np.diff(positive.shares, prepend=0.0)
    below = negative.at(np.nextafter(steps, -np.inf))
    area = float(weights @ (below + negative.at(steps)) / 2)
    thresholds = np.linspace(1.0, 0.0, _POINTS)
    before = np.nextafter(thresholds, -np.inf)
    tpr, fpr = 1 - positive.at(before), 1 - negative.at(before)
    hits, misses = tpr * positives, fpr * negatives
    precision = np.divide(hits, hits + misses, out=np.ones_like(hits), where=hits + misses > 0)
    return {
        "auc": _metric(area),
        "receiver_operating_characteristic_curve": {
            "false_positive_rates": fpr.tolist(),
            "true_positive_rates": tpr.tolist(),
        },
        "precision_recall_curve": {"precisions": precision.tolist(), "recalls": tpr.tolist()},
    }
