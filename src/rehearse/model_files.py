"""What a model names: its container, and the files that the container finds in `/opt/ml/model`."""

from pathlib import Path
from tempfile import TemporaryDirectory

from ..contract.paths import Paths
from ..errors import ApiError
from .context import Context
from .objects import fetch, fetch_tree, locate, unpack
from .store import Document


def container(context: Context, model: Document) -> Document:
    """The one container of a model: image, data, environment, from the registry where it names a package.

    Raises:
        ApiError: it has several, or a package that is not there or not approved.
    """
    found = [model["PrimaryContainer"]] if model.get("PrimaryContainer") else model.get("Containers", [])
    if len(found) != 1:
        raise ApiError(
            f"The model has {len(found)} containers. Rehearsed is one: serial pipelines and direct mode are not.",
            code="NotRehearsed",
        )
    (mine,) = found
    if mine.get("ModelPackageName"):
        _, package = context.store.by_arn(mine["ModelPackageName"])
        if package.get("ModelApprovalStatus") == "Rejected":
            raise ApiError(f"{mine['ModelPackageName']} is rejected. Approve it first.", code="ValidationException")
        of_package = package["InferenceSpecification"]["Containers"][0]
        mine = {
            **of_package,
            **mine,
            "Environment": {**of_package.get("Environment", {}), **mine.get("Environment", {})},
        }
    if not mine.get("Image"):
        raise ApiError("The container names neither Image nor ModelPackageName.", code="ValidationException")
    return dict(mine)


def lay(context: Context, mine: Document, base: Path) -> None:
    """Fill `/opt/ml/model`; DataError when it cannot be."""
    model, s3 = Paths(base).model, context.clients.s3
    model.mkdir(parents=True, exist_ok=True)
    source = mine.get("ModelDataSource", {}).get("S3DataSource")
    if source is None and mine.get("ModelDataUrl"):
        source = {"S3Uri": mine["ModelDataUrl"], "S3DataType": "S3Object", "CompressionType": "Gzip"}
    if source is None:
        return
    place = locate(source["S3Uri"])
    if source["S3DataType"] == "S3Prefix":
        fetch_tree(s3, place, model)
    elif source["CompressionType"] == "Gzip":
        with TemporaryDirectory() as scratch:
            fetch(s3, place, Path(scratch) / "model.tar.gz")
            unpack(Path(scratch) / "model.tar.gz", model)
    else:
        fetch(s3, place, model / Path(place.key).name)
