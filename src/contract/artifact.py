"""The model folder: written by `train`, all that `serve` needs, no pickle in it, and no code but the user's own.

    model/
    ├── twofold.json           this manifest
    ├── weights.safetensors    state_dict of the module that the manifest names
    ├── model.onnx             the same model as an ONNX program, if the manifest says that it was verified
    └── code/                  the user's own files: an own model's, and `inference.py`

The manifest names a built-in architecture, or a function in `code/`, and its arguments; the weights carry everything
learned, input normalisation included, so that a request holds raw values.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import ModelError

MANIFEST = "twofold.json"
WEIGHTS = "weights.safetensors"
PROGRAM = "model.onnx"
CODE = "code"
FORMAT_VERSION = 1

Task = Literal["classification", "regression", "language-modelling"]
Dtype = Literal["float32", "uint8", "int64"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Signature(_Strict):
    """What one input row looks like."""

    shape: Annotated[list[int], Field(min_length=1)]
    """Shape of one row without the batch axis, e.g. `[64]`."""
    dtype: Dtype = "float32"
    """Type of the input: float32 for numbers, uint8 for pixels `[3, height, width]`, int64 for tokens."""


class Program(_Strict):
    """The ONNX program beside the weights, and how far its answers were from PyTorch's when `train` compared them."""

    file: str = PROGRAM
    """Its name in the folder."""
    opset: Annotated[int, Field(ge=1)]
    """Version of the operators that it is written with."""
    worst_error: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Largest `|onnx - torch| / max(1, |torch|)` over all outputs compared."""
    tolerance: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """Bound that it had to stay below; the program is only kept where it did."""


class Architecture(_Strict):
    """Which module the weights belong to: a built-in one, or what a function of the user's returns."""

    name: str
    """Name in the table of built-in models, e.g. `mlp`; for an own model its function, e.g. `build`."""
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
    code: str | None = None
    """File below `code/` that holds the function of an own model, e.g. `my_net.py`; null for a built-in one."""
    onnx: Program | None = None
    """The verified ONNX program, if there is one."""
    classes: list[int | str] | None = None
    """Class of each output in order (classification), else null."""
    metrics: dict[str, float] = {}
    """Metrics of these very weights, e.g. `{"validation:accuracy": 0.97}`."""
    versions: dict[str, str] = {}
    """Versions that wrote the folder, for the record."""

    @property
    def highest(self) -> int | None:
        """Highest value of a token or pixel; None where the model takes any number."""
        if self.input.dtype == "uint8":
            return 255
        vocabulary = self.architecture.arguments.get("vocabulary")
        return vocabulary - 1 if self.input.dtype == "int64" and isinstance(vocabulary, int) else None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `twofold.json` into a model folder, whole or not at all."""
    part = folder / f".{MANIFEST}.part"
    try:
        part.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        part.rename(folder / MANIFEST)
    except OSError:
        part.unlink(missing_ok=True)
        raise


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
