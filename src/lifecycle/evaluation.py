"""The gate: whether a model may be registered, by a threshold and by the model that serves."""

from dataclasses import dataclass

from ..errors import UserError
from . import holdout, models, results, training
from .aws import Document
from .project import Project
from .resources import ENDPOINT, TRAINING, find

TAKEN = ("Image", "ModelDataUrl", "ModelPackageName", "Environment")
"""Of what DescribeModel tells, what CreateModel takes: it refuses the model's place in two forms."""


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
    found, other = _measured(project, job)
    if gate.metric not in found:
        raise UserError(
            f"Training job {job[TRAINING.name]} has no metric {gate.metric}. Expected one of "
            f"{', '.join(sorted(found)) or 'those that its log has by MetricDefinitions'}: change gate.metric."
        )
    value, serving = found[gate.metric], other.get(gate.metric)
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


def in_service(project: Project) -> Document | None:
    """Container of the model that gets most of the endpoint's requests, else of the newest approved package."""
    endpoint = find(project.aws, ENDPOINT, project.config.endpoint)
    if endpoint is not None and endpoint.get("ProductionVariants"):
        found = models.serving(project, endpoint)
        return {name: found[name] for name in TAKEN if name in found}
    approved = models.packages(project, "Approved")
    return {"ModelPackageName": approved[0]["ModelPackageArn"]} if approved else None


def _measured(project: Project, job: Document) -> tuple[dict[str, float], dict[str, float]]:
    """Metrics of a job's model and of the one in service, both on the gate's data where there is some."""
    place, serving = project.config.gate.data, in_service(project)
    own = str(job["ModelArtifacts"]["S3ModelArtifacts"])
    if place:
        project.storage.make_bucket()
        # What was uploaded from here has its content in its name; what is behind a URI of the user's may have changed.
        data, again = project.data(place), place.startswith("s3://")
        candidate = models.container(project, job[TRAINING.name])
        held = [holdout.score(project, each, data, again=again) for each in (candidate, serving) if each is not None]
        if not project.aws.dry:
            return held[0], held[1] if len(held) > 1 else {}
    return results.metrics(project, own, job), _recorded(project, serving)


def _recorded(project: Project, container: Document | None) -> dict[str, float]:
    """Metrics that a model came with."""
    if container is None:
        return {}
    if "ModelPackageName" in container:
        return of_package(models.package(project, container["ModelPackageName"]))
    return results.metrics(project, container["ModelDataUrl"], None) if "ModelDataUrl" in container else {}


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
