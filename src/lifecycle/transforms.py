"""Batch transforms: a file of rows in, a file of answers in the bucket out."""

from ..errors import ConfigError
from . import models
from .names import digest
from .project import Project
from .resources import TRANSFORM
from .training import unused


def create(project: Project, source: str | None, *, again: bool) -> tuple[str, str]:
    """Create the transform job that the file asks for, unless there is one.

    Args:
        project: the project.
        source: what `models.container` takes.
        again: whether a job that has completed is run once more.

    Returns:
        Its name, and the URI that its answers are below.

    Raises:
        ConfigError: there is no input.
    """
    transform = project.config.transform
    if not transform.input:
        raise ConfigError("There is no input. Expected s3://... or a local file: set transform.input, or give INPUT.")
    project.storage.make_bucket()
    asked = {
        "ModelName": models.create(project, models.container(project, source)),
        "MaxPayloadInMB": transform.max_payload_mb,
        "BatchStrategy": transform.strategy,
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": project.data(transform.input)}},
            "ContentType": transform.content_type,
            "SplitType": transform.split,
        },
        "TransformResources": {
            "InstanceType": transform.instance_type,
            "InstanceCount": transform.instance_count,
        },
        "Tags": project.tags,
    }
    name, new = unused(project, TRANSFORM, f"{project.name}-transform-{digest(asked)}", again=again)
    place = project.storage.uri("transforms", name)
    if new:
        output = {"S3OutputPath": place, "Accept": transform.accept, "AssembleWith": _assembly(transform.split)}
        project.aws.do("sagemaker", "CreateTransformJob", TransformJobName=name, TransformOutput=output, **asked)
    return name, f"{place}/"


def _assembly(split: str) -> str:
    """Answers to lines are lines; anything else is put together as it comes."""
    return "Line" if split == "Line" else "None"
