"""Batch transforms: a file of rows in, a file of answers in the bucket out."""

from ..errors import ConfigError
from . import models
from .aws import Document
from .names import digest
from .project import Project
from .resources import TRANSFORM
from .sections import Transform
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
    place, container = project.data(transform.input), models.container(project, source)
    return start(project, container, place, again=again, settings=transform)


def start(
    project: Project,
    container: Document,
    place: str,
    *,
    again: bool,
    settings: Transform | None = None,
    processing: Document | None = None,
) -> tuple[str, str]:
    """Have a model answer the data of a URI, unless it has; returns what `create` does.

    Args:
        project: the project.
        container: the model, as `CreateModel` takes it.
        place: URI of the data.
        again: whether a job that has completed is run once more.
        settings: types and sizes; None is lines of CSV on the machines of the section `transform`.
        processing: filters and join, as `CreateTransformJob` takes them.
    """
    machines, transform = project.config.transform, settings or Transform()
    asked = {
        "ModelName": models.create(project, container),
        "MaxPayloadInMB": transform.max_payload_mb,
        "BatchStrategy": transform.strategy,
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": place}},
            "ContentType": transform.content_type,
            "SplitType": transform.split,
        },
        "TransformResources": {
            "InstanceType": machines.instance_type,
            "InstanceCount": machines.instance_count,
        },
        **({"DataProcessing": processing} if processing else {}),
        "Tags": project.tags,
    }
    name, new = unused(project, TRANSFORM, f"{project.name}-transform-{digest(asked)}", again=again)
    answers = project.storage.uri("transforms", name)
    if new:
        output = {"S3OutputPath": answers, "Accept": transform.accept, "AssembleWith": _assembly(transform.split)}
        project.aws.do("sagemaker", "CreateTransformJob", TransformJobName=name, TransformOutput=output, **asked)
    return name, f"{answers}/"


def _assembly(split: str) -> str:
    """Answers to lines are lines; anything else is put together as it comes."""
    return "Line" if split == "Line" else "None"
