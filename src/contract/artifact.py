"""The model folder: written by `train`, all that `serve` needs, no code and no pickle in it.

    model/
    ├── twofold.json           this manifest
    └── weights.safetensors    state_dict of the module that the manifest names

The manifest names a built-in architecture and its arguments; the weights carry everything learned, input
normalisation included, so that a request holds raw values.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import ModelError

MANIFEST = "twofold.json"
WEIGHTS = "weights.safetensors"
FORMAT_VERSION = 1

Task = Literal["classification", "regression"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Signature(_Strict):
    """What one input row looks like."""

    shape: Annotated[list[int], Field(min_length=1)]
    """Shape of one row without the batch axis, e.g. `[64]`."""
    dtype: Literal["float32"] = "float32"
    """Type that every input is cast to."""


class Architecture(_Strict):
    """Which built-in module the weights belong to."""

    name: str
    """Name in the table of built-in models, e.g. `mlp`."""
    arguments: dict[str, Any] = {}
    """Keyword arguments of its factory; JSON values only."""


class Manifest(BaseModel):
    """Content of `twofold.json`. Keys unknown to this version are ignored, so that older servers read newer folders."""

    model_config = ConfigDict(frozen=True)

    format_version: int = FORMAT_VERSION
    """Version of this layout; a reader refuses a higher one."""
    task: Task
    """What the outputs mean."""
    architecture: Architecture
    input: Signature
    classes: list[int | str] | None = None
    """Class of each output in order (classification), else null."""
    metrics: dict[str, float] = {}
    """Metrics of these very weights, e.g. `{"validation:accuracy": 0.97}`."""
    versions: dict[str, str] = {}
    """Versions that wrote the folder, for the record."""


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `twofold.json` into a model folder."""
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Read `twofold.json` of a model folder.

    Raises:
        ModelError: the folder or the manifest is missing, broken, or of a newer layout.
    """
    path = folder / MANIFEST
    if not path.is_file():
        found = ", ".join(sorted(entry.name for entry in folder.iterdir())[:10]) if folder.is_dir() else ""
        raise ModelError(
            f"No {MANIFEST} in {folder} ({f'found: {found}' if found else 'the folder is empty or missing'}). Expected "
            f"the content of a model.tar.gz that `train` wrote. Check ModelDataUrl, or mount the model folder there."
        )
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ModelError(f"{path}: {where}: {first['msg']}. Expected a manifest that `train` wrote.") from error
    if manifest.format_version > FORMAT_VERSION:
        raise ModelError(
            f"{path}: format_version is {manifest.format_version}, this image reads up to {FORMAT_VERSION}. Serve the "
            f"model with the image that trained it, or a newer one."
        )
    return manifest


def weights_path(folder: Path) -> Path:
    """Path of the weights in a model folder.

    Raises:
        ModelError: there is none.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise ModelError(f"No {WEIGHTS} in {folder} beside {MANIFEST}. The model folder is incomplete: train again.")
    return path
