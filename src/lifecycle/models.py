"""Models: from a training job, a folder, an archive or a package of the registry, each named by its content."""

from typing import Literal

from ..errors import ConfigError, UserError
from . import training, tuning
from .aws import Document
from .names import digest
from .project import Project
from .resources import CONFIG, GROUP, MODEL, TRAINING, describe, find

Status = Literal["Approved", "Rejected", "PendingManualApproval"]
APPROVED = "approved"
"""Word for the newest approved package of the project's group."""


def container(project: Project, source: str | None) -> Document:
    """The container of a model, as `CreateModel` takes it.

    Args:
        project: the project.
        source: ARN of a model package, `approved`, s3:// URI of an archive, local folder or archive, or name of a
            training job, or of a tuning job, whose best one is meant; None is the newest training job.

    Raises:
        UserError: there is none, or it is not ready.
    """
    environment = project.config.deploy.environment
    more = {"Environment": environment} if environment else {}
    if source is not None and (source == APPROVED or ":model-package/" in source):
        return {"ModelPackageName": approved(project, None if source == APPROVED else source), **more}
    return {"Image": project.image, "ModelDataUrl": data(project, source), **more}


def data(project: Project, source: str | None) -> str:
    """URI of a model's archive; a local one is uploaded. UserError when there is none."""
    if source is not None and source.startswith("s3://"):
        return source
    if source is not None and project.path(source).exists():
        return project.storage.put_model(project.path(source))
    if source is not None and find(project.aws, TRAINING, source) is None:
        best = tuning.best(project, source)
        if best is None:
            raise UserError(
                f"There is no model in {source!r}. Expected a training or tuning job, a folder or model.tar.gz, an "
                f"s3:// URI, a model package's ARN or `{APPROVED}`: correct --from."
            )
        source = str(best["TrainingJobName"])
    return str(training.completed(project, source)["ModelArtifacts"]["S3ModelArtifacts"])


def packages(project: Project, status: Status | None = None) -> list[Document]:
    """Summaries of the packages in the project's group, newest first; none where there is no group."""
    if find(project.aws, GROUP, project.name) is None:
        return []
    wanted = {} if status is None else {"ModelApprovalStatus": status}
    found = project.aws.pages(
        "sagemaker",
        "ListModelPackages",
        "ModelPackageSummaryList",
        ModelPackageGroupName=project.name,
        SortBy="CreationTime",
        SortOrder="Descending",
        **wanted,
    )
    return list(found)


def package(project: Project, arn: str) -> Document:
    """Describe a package."""
    return project.aws.ask("sagemaker", "DescribeModelPackage", ModelPackageName=arn)


def approved(project: Project, arn: str | None) -> str:
    """ARN of a package that is approved, of the newest one where none is given.

    Raises:
        UserError: there is none, or it is not approved.
    """
    if arn is None:
        found = packages(project, "Approved")
        if not found:
            raise UserError(
                f"No model package in the group {project.name} is approved. Expected one: `twofold register`, then "
                f"`twofold approve`."
            )
        return str(found[0]["ModelPackageArn"])
    status = package(project, arn)["ModelApprovalStatus"]
    if status != "Approved":
        raise UserError(f"{arn} is {status}. Expected an approved package: `twofold approve {arn}`.")
    return arn


def create(project: Project, found: Document) -> str:
    """Create the model of a container, unless there is one; returns its name."""
    request = {
        "ExecutionRoleArn": project.role,
        "PrimaryContainer": found,
        "Tags": project.tags,
        **project.vpc,
    }
    name = f"{project.name}-{digest(request)}"
    if find(project.aws, MODEL, name) is None:
        project.aws.do("sagemaker", "CreateModel", ModelName=name, **request)
    return name


def serving(project: Project, endpoint: Document) -> Document:
    """Container of the model that gets most of an endpoint's requests."""
    main = max(endpoint["ProductionVariants"], key=lambda item: item.get("CurrentWeight", 0))["VariantName"]
    variants = describe(project.aws, CONFIG, endpoint["EndpointConfigName"])["ProductionVariants"]
    (name,) = [item["ModelName"] for item in variants if item["VariantName"] == main]
    return dict(describe(project.aws, MODEL, name)["PrimaryContainer"])


def archive(project: Project, found: Document) -> str:
    """URI of a container's model, from the registry where it names a package; empty where it has none."""
    if "ModelPackageName" in found:
        found = package(project, found["ModelPackageName"])["InferenceSpecification"]["Containers"][0]
    return str(found.get("ModelDataUrl", ""))


def image(project: Project, found: Document) -> str:
    """Image of a container, from the registry where it names a package; empty for one that is not created yet."""
    if "Image" in found:
        return str(found["Image"])
    specification = package(project, found["ModelPackageName"])["InferenceSpecification"]
    return str(specification["Containers"][0].get("Image", ""))


def checked_percent(percent: float) -> float:
    """A share of the requests; ConfigError when it is none."""
    if not 0 <= percent <= 100:
        raise ConfigError(f"A share of {percent:g} percent cannot be. Expected 0 to 100.")
    return percent
