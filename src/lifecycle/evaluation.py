"""The gate: whether a model may be registered, by a threshold and by the model that serves."""

from dataclasses import dataclass

from ..errors import UserError
from . import models, results, training
from .aws import Document
from .project import Project
from .resources import ENDPOINT, TRAINING, find


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of the comparison."""

    metric: str
    """The metric that decides."""
    value: float
    """That of the new model."""
    threshold: float | None
    """What had to be reached."""
    serving: float | None
    """That of the model that serves, or the newest that was approved; None where there is none with this metric."""
    reasons: tuple[str, ...]
    """Why it is not good enough; none when it is."""


def evaluate(project: Project, source: str | None) -> Verdict:
    """Hold a training job's model against the gate of the file.

    Raises:
        UserError: there is no such job, or it has no such metric.
    """
    gate, job = project.config.gate, training.completed(project, source)
    found = results.metrics(project, job["ModelArtifacts"]["S3ModelArtifacts"], job)
    if gate.metric not in found:
        raise UserError(
            f"Training job {job[TRAINING.name]} has no metric {gate.metric}. Expected one of "
            f"{', '.join(sorted(found)) or 'those that its log has by MetricDefinitions'}: change gate.metric."
        )
    value, serving = found[gate.metric], in_service(project).get(gate.metric)
    sign = 1 if gate.goal == "Maximize" else -1
    reasons = []
    if gate.threshold is not None and sign * (value - gate.threshold) < 0:
        reasons.append(f"{gate.metric} is {value:g}, expected {_bound(sign)} {gate.threshold:g}")
    if serving is not None:
        allowed = serving - sign * gate.tolerance * abs(serving)
        if sign * (value - allowed) < 0:
            reasons.append(
                f"{gate.metric} is {value:g}, expected {_bound(sign)} {allowed:g}, since the model that serves has "
                f"{serving:g}"
            )
    return Verdict(gate.metric, value, gate.threshold, serving, tuple(reasons))


def in_service(project: Project) -> dict[str, float]:
    """Metrics of the model that gets most of the endpoint's requests, else of the newest approved package."""
    endpoint = find(project.aws, ENDPOINT, project.config.endpoint)
    if endpoint is not None and endpoint.get("ProductionVariants"):
        container = models.serving(project, endpoint)
        if "ModelPackageName" in container:
            return of_package(models.package(project, container["ModelPackageName"]))
        return results.metrics(project, container["ModelDataUrl"], None) if "ModelDataUrl" in container else {}
    approved = models.packages(project, "Approved")
    if not approved:
        return {}
    return of_package(models.package(project, approved[0]["ModelPackageArn"]))


def of_package(package: Document) -> dict[str, float]:
    """Metrics that `register` attached to a package."""
    found = {}
    for name, text in package.get("CustomerMetadataProperties", {}).items():
        try:
            found[name] = float(text)
        except ValueError:
            # Others write there too.
            continue
    return found


def _bound(sign: int) -> str:
    return "at least" if sign > 0 else "at most"
