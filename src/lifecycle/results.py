"""What a training job has left beside the model: metrics of its very weights, and the baseline of its data."""

import json
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath

from pydantic import ValidationError

from ..contract.artifact import MANIFEST, Manifest
from ..errors import ModelError
from .aws import Document
from .project import Project
from .refusals import explained
from .resources import TRAINING

BASELINE = ("statistics.json", "constraints.json")
MAX_FILE = 64 * 1024**2
"""Bytes of a file that is read out of an archive."""


def metrics(project: Project, model: str, job: Document | None) -> dict[str, float]:
    """Metrics of a model.

    They are those of the artifact's manifest, which are of these very weights; of a model that has none, the last that
    the job's log had.

    Args:
        project: the project.
        model: URI of its archive.
        job: description of the training job, where there is one.

    Raises:
        ModelError: the manifest cannot be read.
    """
    own = manifest(project, model)
    if own is not None:
        return dict(own.metrics)
    found = (job or {}).get("FinalMetricDataList", [])
    return {item["MetricName"]: float(item["Value"]) for item in found}


def manifest(project: Project, model: str) -> Manifest | None:
    """Manifest of a model; None of one that has none.

    Raises:
        ModelError: it cannot be read.
    """
    content = first_file(project, model, MANIFEST)
    if content is None:
        return None
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        raise ModelError(f"{MANIFEST} in {model} cannot be read. Expected what `train` wrote.") from error


def baseline(project: Project, job: Document) -> dict[str, str]:
    """Upload the baseline that a training job wrote; URIs of its files by name, none where it wrote none."""
    model = str(job["ModelArtifacts"]["S3ModelArtifacts"])
    archive = model.removesuffix("model.tar.gz") + "output.tar.gz"
    if not project.storage.exists(archive):
        return {}
    found = dict(_files(project, archive, {f"baseline/{name}" for name in BASELINE}))
    folder = f"baselines/{job[TRAINING.name]}"
    return {
        PurePosixPath(name).name: project.storage.put(f"{folder}/{PurePosixPath(name).name}", content)
        for name, content in found.items()
    }


def first_file(project: Project, archive: str, name: str) -> bytes | None:
    """Content of a file in an archive of the bucket, which is read no further; None when it is not in there."""
    return next((content for _, content in _files(project, archive, {name})), None)


def _files(project: Project, archive: str, names: set[str]) -> Iterator[tuple[str, bytes]]:
    """Files of an archive as it streams by, until all of them have come."""
    wanted = set(names)
    with _opened(project, archive) as tar:
        for entry in tar:
            name = str(PurePosixPath(entry.name))
            if name in wanted and entry.isfile() and entry.size <= MAX_FILE:
                file = tar.extractfile(entry)
                if file is not None:
                    wanted.remove(name)
                    yield name, file.read()
            if not wanted:
                return


@contextmanager
def _opened(project: Project, archive: str) -> Iterator[tarfile.TarFile]:
    bucket, _, key = archive.removeprefix("s3://").partition("/")
    body = project.aws.ask("s3", "GetObject", Bucket=bucket, Key=key)["Body"]
    try:
        with explained(f"GetObject {key}"), tarfile.open(fileobj=body, mode="r|gz") as tar:
            yield tar
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ModelError(f"{archive} cannot be read: {error}. Expected a tar.gz.") from error
    finally:
        body.close()


def encoded(found: Document) -> bytes:
    """A document as a JSON file."""
    return json.dumps(found, indent=1).encode() + b"\n"


def document(found: Mapping[str, float]) -> Document:
    """Metrics in the platform's form of an evaluation, by the group that their names tell."""
    values = {name.rpartition(":")[2]: value for name, value in found.items() if name.startswith("validation:")}
    group = "regression_metrics" if "rmse" in values else "multiclass_classification_metrics"
    return {group: {name: {"value": value, "standard_deviation": "NaN"} for name, value in values.items()}}
