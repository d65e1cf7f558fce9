"""A window of traffic against the constraints of the baseline, in the platform's kinds of check and in its words."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..baseline.schema import Constraints, FeatureConstraints, MonitoringConfig, Violation
from ..baseline.summary import Feature, Summary
from .align import PREDICTION, PROBABILITY
from .drift import Drift, Method, compare, correct
from .profiles import Profile, profile_of_feature

_NUMBERS = {"Integral", "Fractional"}
_SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a window is checked against."""

    constraints: Constraints
    profiles: Mapping[str, Profile]
    """Features with statistics."""
    label: str | None = None
    """Feature that requests do not hold: it is missing for good reason."""
    method: Method = "distance"
    """What decides about drift."""

    def known_as(self, name: str) -> str:
        """Feature of the baseline that one of the traffic is compared with.

        Answers are compared with earlier answers; where the baseline has none, with what training asked for.
        """
        return self.label or name if name == PREDICTION and name not in self.profiles else name

    def before(self, name: str) -> Profile:
        """Profile that a feature is compared with; an empty one where the baseline has none."""
        return self.profiles.get(self.known_as(name)) or Profile()

    @property
    def asked(self) -> list[FeatureConstraints]:
        """Features that must be in every request."""
        return [part for part in self.constraints.features if part.name not in {self.label, PREDICTION, PROBABILITY}]


@dataclass(frozen=True, slots=True)
class Findings:
    """What came out."""

    violations: list[Violation]
    drifts: list[Drift]
    """Features that could be compared, the worst first."""


def check(window: Summary, baseline: Baseline) -> Findings:
    """Check a window with at least one row."""
    drifts = _drifts(window, baseline)
    violations = _columns(window, baseline)
    for part in baseline.constraints.features:
        feature, config = window.features.get(part.name), baseline.constraints.config_of(part)
        if feature is None or config.evaluate_constraints == "Disabled":
            continue
        violations += _type(part, feature, config)
        violations += _completeness(part, feature, window.rows if part in baseline.asked else 0)
        violations += _values(part, feature, config)
    for drift in drifts:
        if drift.drifted(baseline.method):
            text = drift.describe(baseline.method)
            violations.append(_violation(drift.name, "baseline_drift_check", text))
    return Findings(violations, drifts)


def _violation(name: str, kind: str, description: str) -> Violation:
    return Violation(feature_name=name, constraint_check_type=kind, description=description)


def _columns(window: Summary, baseline: Baseline) -> list[Violation]:
    if not any(name not in {PREDICTION, PROBABILITY, baseline.label} for name in window.features):
        return []
    expected = {part.name for part in baseline.asked}
    known = {part.name for part in baseline.constraints.features} | {PREDICTION, PROBABILITY}
    missing = sorted(expected - window.features.keys())
    extra = sorted(window.features.keys() - known - {baseline.label})
    # As many as there should be is both at once, by name, which the platform cannot tell.
    found = len(expected) - len(missing) + len(extra)
    numbers = (
        f"Number of columns in current dataset: {found}, Number of columns in baseline constraints: {len(expected)}"
    )
    violations = []
    if missing:
        text = f"There are missing columns in current dataset. {numbers}. Missing: {_listed(missing)}"
        violations.append(_violation("Missing columns", "missing_column_check", text))
    if extra:
        text = f"There are extra columns in current dataset. {numbers}. Extra: {_listed(extra)}"
        violations.append(_violation("Extra columns", "extra_column_check", text))
    return violations


def _type(part: FeatureConstraints, feature: Feature, config: MonitoringConfig) -> list[Violation]:
    present = feature.present
    if not present or part.inferred_type == "Unknown":
        return []
    numbers = feature.numbers.moments.count
    good = {"Integral": feature.numbers.whole, "Fractional": numbers, "String": present}[part.inferred_type]
    if good / present >= 1 - config.datatype_check_threshold - _SLACK:
        return []
    text = (
        f"Data type match requirement is not met. Expected data type: {part.inferred_type}, Expected match: "
        f"{100 * (1 - config.datatype_check_threshold):.4g}%. Observed: Only {100 * good / present:.4g}% of data is "
        f"{part.inferred_type}."
    )
    return [_violation(part.name, "data_type_check", text)]


def _completeness(part: FeatureConstraints, feature: Feature, rows: int) -> list[Violation]:
    """Check completeness; a request that lacks the feature altogether lacks its value.

    A baseline of 10 million rows knows its completeness better than a window of 50 can show, so what chance explains
    is not held against the window: three standard errors.
    """
    total = max(rows, feature.present + feature.missing)
    share = feature.present / total if total else 1.0
    expected = part.completeness
    slack = 3 * (expected * (1 - expected) / total) ** 0.5 if total else 0.0
    if share >= expected - slack - _SLACK:
        return []
    text = f"Completeness requirement is not met. Expected completeness: {expected:.4g}. Observed: {share:.4g}."
    return [_violation(part.name, "completeness_check", text)]


def _values(part: FeatureConstraints, feature: Feature, config: MonitoringConfig) -> list[Violation]:
    found = []
    domain = part.string_constraints.domains if part.string_constraints else None
    counts, present = feature.texts.categories or Counter(), feature.present
    if domain is not None and present:
        inside = sum(counts[text] for text in domain)
        if inside / present < 1 - config.domain_content_threshold - _SLACK:
            others = sorted(counts.keys() - set(domain))
            text = (
                f"Domain requirement is not met. Expected match: {100 * (1 - config.domain_content_threshold):.4g}%. "
                f"Observed: Only {100 * inside / present:.4g}% of data is in the domain. Others: {_listed(others)}"
            )
            found.append(_violation(part.name, "categorical_values_check", text))
    bounds = part.num_constraints
    if bounds and bounds.is_non_negative and feature.numbers.negative and part.inferred_type in _NUMBERS:
        text = (
            f"Non-negativity requirement is not met. Expected: no value below 0. Observed: "
            f"{feature.numbers.negative} of {feature.numbers.moments.count}, the smallest "
            f"{feature.numbers.moments.minimum:.4g}."
        )
        found.append(_violation(part.name, "data_type_check", text))
    return found


def _drifts(window: Summary, baseline: Baseline) -> list[Drift]:
    found = []
    constraints = {part.name: part for part in baseline.constraints.features}
    for name, feature in window.features.items():
        before = baseline.before(name)
        part = constraints.get(baseline.known_as(name))
        config = baseline.constraints.config_of(part) if part else baseline.constraints.monitoring_config
        if config.distribution_constraints.perform_comparison == "Disabled":
            continue
        drift = compare(name, before, profile_of_feature(feature, before), config.distribution_constraints)
        found += [drift] if drift else []
    return sorted(correct(found), key=lambda drift: -drift.simple)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
