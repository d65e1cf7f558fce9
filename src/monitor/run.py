"""A run of `monitor run`: traffic against the baseline, as a whole and hour by hour."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..baseline import schema
from ..baseline.schema import Constraints, Statistics, Violation
from ..baseline.summary import Summary
from .align import Alignment, guess_label
from .capture import Window, read_captured
from .checks import Baseline, Findings, check
from .drift import Method
from .profiles import Profile, profile_of_feature, profile_of_statistics
from .publish import write_drift, write_results
from .quality import Problem, check_quality
from .report import Material, write_report
from .tables import read_blocks
from .traffic import Traffic, read_table, read_traffic

log = logging.getLogger("twofold.monitor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for."""

    source: Path
    output: Path
    statistics: Path
    constraints: Path
    captured: bool = True
    """Whether the source is captured traffic rather than rows of a batch transform."""
    window: Window = field(default_factory=Window)
    label: str | None = None
    """Feature of the baseline that requests do not hold; by default it is guessed."""
    method: Method = "distance"
    problem: Problem | None = None
    """What the model is asked for; None finds it out from answers and truths."""
    picture: bool = False
    """Whether the report is wanted as report.png, too."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came out."""

    summary: Summary
    findings: Findings
    violations: list[Violation]
    """Of the whole window, then of single hours."""
    quality: Mapping[str, Any]


class Monitor:
    """A baseline, and the traffic that is held against it."""

    def __init__(self, options: Options) -> None:
        """Read the baseline.

        Raises:
            ConfigError: it is broken.
        """
        self._options = options
        self._constraints = schema.read(options.constraints, Constraints)
        self._statistics = schema.read(options.statistics, Statistics)
        kinds = {part.name: part.inferred_type for part in self._constraints.features}
        kinds |= {part.name: part.inferred_type for part in self._statistics.features}
        label = options.label or guess_label(tuple(kinds))
        texts = {name: kind == "String" for name, kind in kinds.items() if kind != "Unknown"}
        self._alignment = Alignment(tuple(kinds), label, texts)

    def read(self, part: int = 0, parts: int = 1) -> Traffic:
        """Sum up the traffic, or a part of so many of it.

        Raises:
            DataError: the source is not there, or cannot be read.
        """
        options = self._options
        if options.captured:
            blocks = read_captured(options.source, options.window, part=part, parts=parts)
            return read_traffic(blocks, self._alignment, options.problem)
        if part:
            return Traffic()
        return read_table(read_blocks(options.source), self._alignment, options.window.start[:13] or "all")

    def judge(self, traffic: Traffic) -> Result:
        """Check what was read and write what came out."""
        profiles = {part.name: profile_of_statistics(part) for part in self._statistics.features}
        baseline = Baseline(self._constraints, profiles, self._alignment.label, self._options.method)
        summary = traffic.whole()
        findings = check(summary, baseline)
        hours = {hour: check(traffic.hours[hour], baseline) for hour in sorted(traffic.hours)}
        quality = traffic.whole_quality().metrics()
        worse = check_quality(quality, self._constraints.bounds())
        violations = [*findings.violations, *worse, *_of_hours(findings, hours)]
        write_results(self._options.output, summary, violations, quality)
        metrics = {hour: part.metrics() for hour, part in sorted(traffic.quality.items())}
        write_drift(self._options.output, self._options.method, findings, hours, metrics)
        pairs = {drift.name: _pair(drift.name, summary, baseline) for drift in findings.drifts}
        material = Material(
            source=self._options.source.name,
            rows=summary.rows,
            malformed=traffic.malformed,
            method=self._options.method,
            violations=violations,
            whole=findings,
            hours=hours,
            profiles=pairs,
            quality=quality,
            quality_hours=metrics,
        )
        write_report(self._options.output, material, picture=self._options.picture)
        return Result(summary, findings, violations, quality)


def _pair(name: str, summary: Summary, baseline: Baseline) -> tuple[Profile, Profile]:
    before = baseline.before(name)
    return before, profile_of_feature(summary.features[name], before)


def _of_hours(whole: Findings, hours: Mapping[str, Findings]) -> list[Violation]:
    """Violations of single hours that are none of the whole."""
    known = {(part.feature_name, part.constraint_check_type) for part in whole.violations}
    return [
        part.model_copy(update={"description": f"{part.description} (hour {hour})"})
        for hour, findings in hours.items()
        for part in findings.violations
        if (part.feature_name, part.constraint_check_type) not in known
    ]
