"""Kinds of resources that SageMaker has, and how each is found by name, listed and known as this project's."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .aws import Aws, Document
from .refusals import NotRehearsed

PROJECT_TAG = "twofold:project"
"""Tag of everything that is created; its value is the project's name."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind; the names of operations and fields follow from its own."""

    api: str
    """As operations have it, e.g. `TrainingJob`."""
    word: str
    """As people say it."""
    summaries: str
    """Field of the list's answer."""

    @property
    def name(self) -> str:
        """Field with the name."""
        return f"{self.api}Name"

    @property
    def arn(self) -> str:
        """Field with the ARN."""
        return f"{self.api}Arn"

    @property
    def status(self) -> str:
        """Field with the status, where there is one."""
        return f"{self.api}Status"

    @property
    def operations(self) -> str:
        """The plural, as List operations have it."""
        return f"List{self.api}s"


TRAINING = Kind("TrainingJob", "training job", "TrainingJobSummaries")
TUNING = Kind("HyperParameterTuningJob", "tuning job", "HyperParameterTuningJobSummaries")
TRANSFORM = Kind("TransformJob", "transform job", "TransformJobSummaries")
PROCESSING = Kind("ProcessingJob", "processing job", "ProcessingJobSummaries")
MODEL = Kind("Model", "model", "Models")
CONFIG = Kind("EndpointConfig", "endpoint config", "EndpointConfigs")
ENDPOINT = Kind("Endpoint", "endpoint", "Endpoints")
SCHEDULE = Kind("MonitoringSchedule", "monitoring schedule", "MonitoringScheduleSummaries")
GROUP = Kind("ModelPackageGroup", "model package group", "ModelPackageGroupSummaryList")
LIFECYCLE = Kind("NotebookInstanceLifecycleConfig", "notebook's lifecycle config", "NotebookInstanceLifecycleConfigs")
NOTEBOOK = Kind("NotebookInstance", "notebook instance", "NotebookInstances")


def listed(aws: Aws, kind: Kind, containing: str, **filters: object) -> Iterator[Document]:
    """Summaries of all resources of a kind whose name has a text in it, newest first."""
    # A rehearsal that cannot make what is asked for has none of it.
    with contextlib.suppress(NotRehearsed):
        yield from aws.pages("sagemaker", kind.operations, kind.summaries, NameContains=containing, **filters)


def find(aws: Aws, kind: Kind, name: str) -> Document | None:
    """Describe a resource, or None when there is none of that name.

    Asked by the list: Describe says of a missing resource the same as of a wrong request.
    """
    if any(item[kind.name] == name for item in listed(aws, kind, name)):
        return describe(aws, kind, name)
    return None


def describe(aws: Aws, kind: Kind, name: str) -> Document:
    """Describe a resource; UserError when there is none."""
    return aws.ask("sagemaker", f"Describe{kind.api}", **{kind.name: name})


def tags(aws: Aws, arn: str) -> dict[str, str]:
    """Tags of a resource."""
    return {tag["Key"]: tag["Value"] for tag in aws.pages("sagemaker", "ListTags", "Tags", ResourceArn=arn)}


def tag_list(project: str, more: Mapping[str, str]) -> list[Document]:
    """Tags of what this project creates, as requests have them."""
    return [{"Key": key, "Value": value} for key, value in ({PROJECT_TAG: project} | dict(more)).items()]


def owned(aws: Aws, kind: Kind, project: str, **filters: object) -> Iterator[Document]:
    """Summaries of the resources of a kind that carry this project's tag, newest first."""
    for item in listed(aws, kind, project, **filters):
        if tags(aws, item[kind.arn]).get(PROJECT_TAG) == project:
            yield item
