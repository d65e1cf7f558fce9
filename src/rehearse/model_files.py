"""What a model names: its containers, and the files that each finds in `/opt/ml/model`."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ..contract.paths import Paths
from ..errors import ApiError
from .context import Context
from .objects import fetch, fetch_tree, locate, unpack
from .store import Document


def containers(context: Context, model: Document) -> list[Document]:
    """The containers of a model: image, data, environment, from the registry where they name a package.

    Raises:
        ApiError: they cannot serve together, or one names a package that is not there or not approved.
    """
    given = [model["PrimaryContainer"]] if model.get("PrimaryContainer") else model.get("Containers", [])
    if not given:
        raise _invalid("The model has neither PrimaryContainer nor Containers.")
    found = [_container(context, mine) for mine in given]
    if len(found) > 1 and any(multi_model(mine) for mine in found):
        raise ApiError("Multi-model containers are rehearsed alone, not in a pipeline.", code="NotRehearsed")
    names = [mine.get("ContainerHostname") for mine in found]
    if direct(model) and (None in names or len(set(names)) < len(names)):
        raise _invalid("Mode is Direct. Expected a ContainerHostname of its own for each container.")
    return found


def direct(model: Document) -> bool:
    """Whether requests name the container that they are for."""
    return bool(model.get("InferenceExecutionConfig", {}).get("Mode") == "Direct")


def multi_model(mine: Document) -> bool:
    """Whether a container loads the models that requests name."""
    return bool(mine.get("Mode") == "MultiModel")


def lay(context: Context, found: Sequence[Document], folder: Path) -> list[Path]:
    """Make the folders that stand for `/opt/ml` of each container, with its model; DataError when one cannot be."""
    bases = [folder] if len(found) == 1 else [folder / str(number) for number in range(1, len(found) + 1)]
    for mine, base in zip(found, bases, strict=True):
        _lay(context, mine, base)
    return bases


def _container(context: Context, mine: Document) -> Document:
    if mine.get("ModelPackageName"):
        _, package = context.store.by_arn(mine["ModelPackageName"])
        if package.get("ModelApprovalStatus") == "Rejected":
            raise _invalid(f"{mine['ModelPackageName']} is rejected. Approve it first.")
        of_package = package["InferenceSpecification"]["Containers"][0]
        mine = {
            **of_package,
            **mine,
            "Environment": {**of_package.get("Environment", {}), **mine.get("Environment", {})},
        }
    if not mine.get("Image"):
        raise _invalid("The container names neither Image nor ModelPackageName.")
    if multi_model(mine) and not mine.get("ModelDataUrl"):
        raise _invalid("Mode is MultiModel. Expected ModelDataUrl, the S3 prefix of its models.")
    return dict(mine)


def _lay(context: Context, mine: Document, base: Path) -> None:
    model, s3 = Paths(base).model, context.clients.s3
    model.mkdir(parents=True, exist_ok=True)
    if multi_model(mine):
        (base / "models").mkdir()
        return
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


def _invalid(text: str) -> ApiError:
    return ApiError(text, code="ValidationException")
