"""The configuration files of a job, as its containers find them under `/opt/ml`."""

import json
from collections.abc import Sequence
from pathlib import Path

from ..contract.cluster import DEFAULT_GROUP
from ..contract.paths import DEFAULT_BASE_DIR, Paths
from ..errors import ApiError
from .store import Document


def instance_groups(resources: Document) -> list[Document]:
    """Instance groups of a `ResourceConfig`, also of one that names none."""
    groups = resources.get("InstanceGroups")
    if groups:
        return list(groups)
    return [
        {
            "InstanceGroupName": DEFAULT_GROUP,
            "InstanceType": resources["InstanceType"],
            "InstanceCount": resources["InstanceCount"],
        }
    ]


def members(groups: Sequence[Document], hosts: Sequence[str]) -> dict[str, list[str]]:
    """Hosts of each group, in order."""
    rest = list(hosts)
    return {group["InstanceGroupName"]: [rest.pop(0) for _ in range(group["InstanceCount"])] for group in groups}


def write_training(paths: Paths, job: Document, host: str, hosts: Sequence[str], interface: str) -> None:
    """Write what a training container reads, and the folders that it may expect."""
    groups = instance_groups(job["ResourceConfig"])
    of_group = members(groups, hosts)
    types = {group["InstanceGroupName"]: group["InstanceType"] for group in groups}
    mine = next(name for name, names in of_group.items() if host in names)
    for folder in (paths.config, paths.data, paths.model, paths.output_data):
        folder.mkdir(parents=True, exist_ok=True)
    _write(paths.hyperparameters, job.get("HyperParameters", {}))
    _write(
        paths.resource_config,
        {
            "current_host": host,
            "current_instance_type": types[mine],
            "current_group_name": mine,
            "hosts": sorted(hosts),
            "instance_groups": [
                {"instance_group_name": name, "instance_type": types[name], "hosts": names}
                for name, names in of_group.items()
            ],
            "network_interface_name": interface,
            "topology": None,
        },
    )
    _write(
        paths.input_data_config,
        {channel["ChannelName"]: _channel(channel, job) for channel in job.get("InputDataConfig", [])},
    )


def write_processing(paths: Paths, job: Document, host: str, hosts: Sequence[str], interface: str) -> None:
    """Write what a processing container reads: `config`, not `input/config`."""
    paths.output.mkdir(parents=True, exist_ok=True)
    _write(
        paths.processing_resource_config,
        {"current_host": host, "hosts": sorted(hosts), "network_interface_name": interface},
    )
    shown = ("AppSpecification", "Environment", "ProcessingInputs", "ProcessingOutputConfig", "ProcessingResources")
    names = ("ProcessingJobArn", "ProcessingJobName", *shown, "RoleArn", "StoppingCondition")
    _write(paths.processing_config / "processingjobconfig.json", {name: job.get(name) for name in names})


def mode(channel: Document, job: Document) -> str:
    """Input mode of a channel: its own, else the job's."""
    return str(channel.get("InputMode") or job["AlgorithmSpecification"]["TrainingInputMode"])


def below(paths: Paths, place: str, field: str) -> Path:
    """Path on this machine of one that a container names.

    Raises:
        ApiError: it is not below `/opt/ml`.
    """
    try:
        return paths.base / Path(place).relative_to(DEFAULT_BASE_DIR)
    except ValueError as error:
        raise ApiError(
            f"{field} is {place!r}. Rehearsed are paths below {DEFAULT_BASE_DIR}.", code="NotRehearsed"
        ) from error


def _channel(channel: Document, job: Document) -> Document:
    # Of FastFile the platform says File: the container sees files.
    source = channel["DataSource"]["S3DataSource"]
    return {
        **({"ContentType": channel["ContentType"]} if channel.get("ContentType") else {}),
        "TrainingInputMode": "Pipe" if mode(channel, job) == "Pipe" else "File",
        "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": channel.get("RecordWrapperType", "None"),
    }


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
