"""Taking a project down: what costs money by the hour goes, and what is left is told."""

from ..errors import UserError
from . import guardrails, models, overview
from .progress import wait, wait_gone
from .project import Project
from .resources import (
    CONFIG,
    ENDPOINT,
    GROUP,
    LIFECYCLE,
    MODEL,
    NOTEBOOK,
    PROCESSING,
    SCHEDULE,
    TRAINING,
    TRANSFORM,
    TUNING,
    Kind,
    describe,
    find,
    owned,
)

BATCH = 1000
"""Objects that S3 deletes in one request."""
# A tuning job before its training jobs, or it would start others; a schedule before its endpoint, which needs it gone.
JOBS = (TUNING, TRAINING, TRANSFORM, PROCESSING)


def down(project: Project, *, everything: bool) -> None:
    """Stop what runs and delete endpoints, schedules, notebooks, alarms, configs and models.

    Args:
        project: the project.
        everything: training jobs, the registry's group and all objects below the project's prefix go as well.
    """
    _stop_jobs(project)
    for name in _names(project, SCHEDULE):
        _delete(project, SCHEDULE, name)
        wait_gone(project, SCHEDULE, name)
    for name in _names(project, ENDPOINT):
        _delete_endpoint(project, name)
    for name in _names(project, NOTEBOOK):
        _delete_notebook(project, name)
    for kind in (CONFIG, MODEL, LIFECYCLE):
        for name in _names(project, kind):
            _delete(project, kind, name)
    if found := guardrails.alarms(project):
        project.say(f"alarms {', '.join(found)}: deleted")
        project.aws.do("cloudwatch", "DeleteAlarms", AlarmNames=found)
    if everything:
        # A training job whose model is gone would still be taken for the one that is asked for.
        for name in _names(project, TRAINING):
            _delete(project, TRAINING, name)
        _delete_group(project)
        _delete_objects(project)


def left(project: Project) -> list[str]:
    """What is still there, a line each: records that cost nothing, packages, and the objects with their size."""
    lines = [f"{row.kind} {row.name} ({row.status})" for row in overview.rows(project)]
    sizes = project.storage.sizes()
    if sizes:
        total = sum(sizes.values())
        lines.append(
            f"{len(sizes)} objects of {total:,} bytes below {project.storage.uri()}/ (`down --all` deletes them)"
        )
    return lines


def _names(project: Project, kind: Kind, **filters: object) -> list[str]:
    return [item[kind.name] for item in owned(project.aws, kind, project.name, **filters)]


def _stop_jobs(project: Project) -> None:
    for kind in JOBS:
        for name in _names(project, kind, StatusEquals="InProgress"):
            _tell(project, kind, name, "stopped")
            project.aws.do("sagemaker", f"Stop{kind.api}", **{kind.name: name})
            wait(project, kind, name)


def _delete(project: Project, kind: Kind, name: str) -> None:
    _tell(project, kind, name, "deleted")
    project.aws.do("sagemaker", f"Delete{kind.api}", **{kind.name: name})


def _tell(project: Project, kind: Kind, name: str, done: str) -> None:
    project.say(f"{kind.word} {name}: {'would be ' if project.aws.dry else ''}{done}")


def _delete_endpoint(project: Project, name: str) -> None:
    found = describe(project.aws, ENDPOINT, name)
    if found[ENDPOINT.status] in ("Creating", "Updating"):
        # AWS deletes no endpoint on its way to somewhere else.
        wait(project, ENDPOINT, name)
    guardrails.unscale(project, [item["VariantName"] for item in found.get("ProductionVariants", [])])
    _delete(project, ENDPOINT, name)
    wait_gone(project, ENDPOINT, name)


def _delete_notebook(project: Project, name: str) -> None:
    # AWS stops none that is on its way to somewhere else.
    wait(project, NOTEBOOK, name)
    if describe(project.aws, NOTEBOOK, name)[NOTEBOOK.status] == "InService":
        project.aws.do("sagemaker", "StopNotebookInstance", NotebookInstanceName=name)
    if wait(project, NOTEBOOK, name)[NOTEBOOK.status] not in ("Stopped", "Failed", "DryRun"):
        raise UserError(f"Notebook instance {name} does not stop. Expected it to: look into AWS's console.")
    _delete(project, NOTEBOOK, name)
    wait_gone(project, NOTEBOOK, name)


def _delete_group(project: Project) -> None:
    for package in models.packages(project):
        project.say(f"model package {package['ModelPackageArn']}: deleted")
        project.aws.do("sagemaker", "DeleteModelPackage", ModelPackageName=package["ModelPackageArn"])
    if find(project.aws, GROUP, project.name) is not None:
        _delete(project, GROUP, project.name)


def _delete_objects(project: Project) -> None:
    keys = sorted(project.storage.sizes())
    for first in range(0, len(keys), BATCH):
        batch = [{"Key": key} for key in keys[first : first + BATCH]]
        project.aws.do("s3", "DeleteObjects", Bucket=project.storage.bucket, Delete={"Objects": batch})
    if keys:
        project.say(f"{len(keys)} objects below {project.storage.uri()}/: deleted")
