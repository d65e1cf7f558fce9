"""The model registry: packages with their metrics and baseline, and what people have decided about them."""

from ..errors import UserError
from . import models, results, training
from .aws import Document
from .names import digest
from .project import Project
from .resources import GROUP, TRAINING, find

TAKES = ["text/csv", "application/json", "application/jsonlines", "application/x-npy"]
"""Content types of requests that a package names; the image takes more."""
ANSWERS = ["text/csv", "application/json", "application/jsonlines", "application/x-npy"]
"""Those of answers."""
MAX_METADATA = 50
"""Entries that a package may have."""


def register(project: Project, source: str | None, *, commit: str | None) -> str:
    """Register the model of a training job, with its metrics and the baseline of its data; returns the package's ARN.

    Args:
        project: the project.
        source: name of the training job; None is the newest that has completed.
        commit: revision of the code that it was made by.

    Raises:
        UserError: there is no such job.
    """
    job = training.completed(project, source)
    model = str(job["ModelArtifacts"]["S3ModelArtifacts"])
    found = results.metrics(project, model, job)
    container = {"Image": job["AlgorithmSpecification"]["TrainingImage"], "ModelDataUrl": model}
    request: Document = {
        "ModelPackageGroupName": project.name,
        "ModelPackageDescription": f"{project.name}: {job[TRAINING.name]}",
        "InferenceSpecification": {
            "Containers": [container],
            "SupportedContentTypes": TAKES,
            "SupportedResponseMIMETypes": ANSWERS,
            "SupportedRealtimeInferenceInstanceTypes": [project.config.deploy.instance_type],
            "SupportedTransformInstanceTypes": [project.config.transform.instance_type],
        },
        "ModelApprovalStatus": "PendingManualApproval",
        "MetadataProperties": {"GeneratedBy": job["TrainingJobArn"], **({"CommitId": commit} if commit else {})},
        **_attached(project, job, found),
    }
    _make_group(project)
    # The same request is the same package, however often it is made.
    token = f"{digest(request)}-{job[TRAINING.name]}"[:36].rstrip("-")
    made = project.aws.do("sagemaker", "CreateModelPackage", ClientToken=token, **request)
    return str(made.get("ModelPackageArn", "the next version"))


def decide(project: Project, arn: str | None, *, rejected: bool, reason: str | None) -> str:
    """Approve or reject a package, the newest where none is named; returns its ARN. UserError when there is none."""
    if arn is None:
        found = models.packages(project)
        if not found:
            raise UserError(f"There is no model package of {project.name}. Expected one: run `twofold register`.")
        arn = str(found[0]["ModelPackageArn"])
    project.aws.do(
        "sagemaker",
        "UpdateModelPackage",
        ModelPackageArn=arn,
        ModelApprovalStatus="Rejected" if rejected else "Approved",
        **({"ApprovalDescription": reason} if reason else {}),
    )
    return arn


def _attached(project: Project, job: Document, found: dict[str, float]) -> Document:
    """Metrics and baseline of a package, where there are any."""
    attached: Document = {}
    measured: Document = {}
    if found:
        folder = f"evaluations/{job[TRAINING.name]}"
        content = results.encoded(results.document(found))
        place = project.storage.put(f"{folder}/evaluation.json", content)
        measured["ModelQuality"] = {"Statistics": _source(place)}
        shown = dict(sorted(found.items())[:MAX_METADATA])
        attached["CustomerMetadataProperties"] = {name: repr(value) for name, value in shown.items()}
    files = results.baseline(project, job)
    if len(files) == len(results.BASELINE):
        known = {name.removesuffix(".json").capitalize(): _source(place) for name, place in files.items()}
        measured["ModelDataQuality"] = known
        attached["DriftCheckBaselines"] = {"ModelDataQuality": known}
    if measured:
        attached["ModelMetrics"] = measured
    return attached


def _source(place: str) -> Document:
    return {"ContentType": "application/json", "S3Uri": place}


def _make_group(project: Project) -> None:
    if find(project.aws, GROUP, project.name) is None:
        project.aws.do(
            "sagemaker",
            "CreateModelPackageGroup",
            ModelPackageGroupName=project.name,
            ModelPackageGroupDescription=f"Models of {project.name}",
            Tags=project.tags,
        )
