"""What a run leaves: the platform's files, its exit message, metrics for CloudWatch, and drift by the hour.

    OUT/statistics.json, constraints.json          of this window, in the schema of a baseline
    OUT/constraint_violations.json                 and the same as constraints_violations.json: both names exist
    OUT/drift.json                                 every feature of every hour
    /opt/ml/output/metrics/cloudwatch/cloudwatch_metrics.jsonl

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-contract-outputs.html and
model-monitor-byoc-cloudwatch.html.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..baseline import schema
from ..baseline.schema import Violation, Violations
from ..baseline.statistics import constraints_of, statistics_of
from ..baseline.summary import Summary
from .checks import Findings
from .drift import Method
from .quality import propose

VIOLATIONS = ("constraint_violations.json", "constraints_violations.json")
CLEAN = "Completed: Job completed successfully with no violations."


@dataclass(frozen=True, slots=True)
class Origin:
    """What metrics are filed under."""

    time: str
    """End of the window, e.g. `2022-02-14T18:00:00`."""
    endpoint: str | None
    schedule: str | None


def write_results(folder: Path, summary: Summary, violations: Sequence[Violation], quality: Mapping[str, Any]) -> None:
    """Write statistics, proposed constraints and violations of a window; `quality` are metrics of the model."""
    folder.mkdir(parents=True, exist_ok=True)
    schema.write(folder / "statistics.json", statistics_of(summary).model_copy(update=dict(quality)))
    schema.write(folder / "constraints.json", constraints_of(summary).model_copy(update=propose(quality)))
    for name in VIOLATIONS:
        schema.write(folder / name, Violations(violations=list(violations)))


def write_drift(
    folder: Path, method: Method, whole: Findings, hours: Mapping[str, Findings], quality: Mapping[str, Any]
) -> None:
    """Write the drift of every feature in the whole window and in each hour, and how good the model was."""
    content = {
        "method": method,
        "features": _drifts(whole),
        "hours": {hour: _drifts(hours[hour]) for hour in hours},
        "quality": quality,
    }
    (folder / "drift.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def message(violations: Sequence[Violation], malformed: int) -> str:
    """Exit message, whose beginning decides the state of the execution."""
    ignored = f" {malformed} lines or bodies could not be read and were left out." if malformed else ""
    if not violations:
        return CLEAN + ignored
    shown = "; ".join(f"{part.feature_name or part.metric_name}: {part.constraint_check_type}" for part in violations)
    return f"CompletedWithViolations: Job completed successfully with {len(violations)} violations.{ignored} {shown}"


def write_metrics(
    folder: Path,
    origin: Origin,
    *,
    summary: Summary,
    findings: Findings,
    quality: Mapping[str, Any],
    violations: Sequence[Violation],
) -> None:
    """Write metrics as the platform reads them, one object a line; it knows the namespace."""
    folder.mkdir(parents=True, exist_ok=True)
    found = [_count(origin, len(violations)), *_metrics(origin, summary, findings, quality)]
    lines = "".join(json.dumps(metric) + "\n" for metric in found)
    (folder / "cloudwatch_metrics.jsonl").write_text(lines, encoding="utf-8")


def _base(origin: Origin) -> dict[str, Any]:
    names = (("Endpoint", origin.endpoint), ("MonitoringSchedule", origin.schedule))
    return {
        "Timestamp": f"{origin.time}Z",
        "Dimensions": [{"Name": name, "Value": value} for name, value in names if value],
    }


def _count(origin: Origin, violations: int) -> dict[str, Any]:
    """The one metric that an alarm needs, whatever the features are called."""
    return {"MetricName": "violations", **_base(origin), "Value": float(violations), "Unit": "Count"}


def _metrics(
    origin: Origin, summary: Summary, findings: Findings, quality: Mapping[str, Any]
) -> Iterable[dict[str, Any]]:
    base = _base(origin)
    for name, feature in summary.features.items():
        moments = feature.numbers.moments
        if moments.count:
            values = {
                "SampleCount": moments.count,
                "Sum": moments.mean * moments.count,
                "Minimum": moments.minimum,
                "Maximum": moments.maximum,
            }
            yield {"MetricName": f"feature_data_{name}", **base, "StatisticValues": values, "Unit": "None"}
    for drift in findings.drifts:
        yield {"MetricName": f"feature_baseline_drift_{drift.name}", **base, "Value": drift.distance, "Unit": "None"}
    for metrics in quality.values():
        for name, metric in metrics.items():
            if isinstance(metric, Mapping) and isinstance(metric.get("value"), float):
                yield {"MetricName": name, **base, "Value": metric["value"], "Unit": "None"}


def _drifts(findings: Findings) -> list[dict[str, Any]]:
    return [dataclasses.asdict(drift) for drift in findings.drifts]
