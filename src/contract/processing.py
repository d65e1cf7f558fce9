"""A processing job of SageMaker: where input and output are, and which part of the work is this host's.

    config/processingjobconfig.json    inputs, outputs, and how inputs are spread over hosts
    config/resourceconfig.json         the hosts
    processing/input, processing/output

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html.
"""

from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from .cluster import Cluster, read_cluster
from .json_file import JSON, list_field, object_field, read_object, string_field
from .paths import Paths

_CODE = "code"


@dataclass(frozen=True, slots=True)
class ProcessingJob:
    """What the platform says."""

    input: Path | None
    """The only input, if there is one."""
    output: Path | None
    """The only output."""
    sharded: frozenset[Path]
    """Inputs of which each host has its own part."""
    cluster: Cluster

    def is_sharded(self, folder: Path) -> bool:
        """Tell whether what lies below an input differs from host to host."""
        return any(folder == root or folder.is_relative_to(root) for root in self.sharded)


def read_processing_job(paths: Paths) -> ProcessingJob | None:
    """Read the processing job of this container; None where it is none.

    Raises:
        ConfigError: a file of the job is broken.
    """
    if not paths.processing_config.is_dir():
        return None
    file = paths.processing_config / "processingjobconfig.json"
    content = read_object(file) or {}
    inputs: dict[Path, bool] = {}
    for place, entry in enumerate(list_field(file, "ProcessingInputs", content.get("ProcessingInputs"))):
        found = _input(paths, file, f"ProcessingInputs[{place}]", entry)
        if found is not None:
            inputs[found[0]] = found[1]
    outputs = object_field(file, "ProcessingOutputConfig", content.get("ProcessingOutputConfig"))
    folders = [
        _local(
            paths, file, f"Outputs[{place}].S3Output", object_field(file, f"Outputs[{place}]", entry).get("S3Output")
        )
        for place, entry in enumerate(list_field(file, "Outputs", outputs.get("Outputs")))
    ]
    return ProcessingJob(
        input=_only(list(inputs), paths.base / "processing" / "input"),
        output=_only([folder for folder in folders if folder], paths.base / "processing" / "output"),
        sharded=frozenset(folder for folder, sharded in inputs.items() if sharded),
        cluster=read_cluster(paths.processing_resource_config),
    )


def _input(paths: Paths, file: Path, key: str, entry: JSON) -> tuple[Path, bool] | None:
    fields = object_field(file, key, entry)
    folder = _local(paths, file, f"{key}.S3Input", fields.get("S3Input"))
    if folder is None or fields.get("InputName") == _CODE or folder.name == _CODE:
        return None
    source = object_field(file, f"{key}.S3Input", fields.get("S3Input"))
    if source.get("S3InputMode") == "Pipe":
        raise ConfigError(f"{key} comes in S3InputMode=Pipe. Expected File: many parts of the input are read at once.")
    return folder, source.get("S3DataDistributionType") == "ShardedByS3Key"


def _local(paths: Paths, file: Path, key: str, entry: JSON) -> Path | None:
    """Folder of an input or output, below the root of the tree wherever that is."""
    text = string_field(file, f"{key}.LocalPath", object_field(file, key, entry).get("LocalPath"))
    return None if text is None else paths.local(text)


def _only(folders: list[Path], root: Path) -> Path | None:
    """The one folder that the job names, else the root of all; None if there are several."""
    return folders[0] if len(folders) == 1 else None if folders else root
