"""From a model folder to the module with its weights; no pickle on the way."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..contract.artifact import CODE, Manifest, read_manifest, weights_path
from ..errors import ModelError
from .own import build_own
from .table import build


def load_model(folder: str | Path) -> tuple[nn.Module, Manifest]:
    """Load an artifact: the module with its weights, ready to answer, and the manifest that says what goes in and out.

        model, manifest = load_model("model")
        rows = torch.zeros(2, *manifest.input.shape)
        answers = model(rows)

    Classifiers give scores `[n, classes]` (softmax makes probabilities of them), regressions `[n, 1]` in the target's
    units, language models scores `[n, t, vocabulary]` of each next token.

    Raises:
        ModelError: something is missing from the folder, or its parts do not fit together.
    """
    manifest = read_manifest(Path(folder))
    return load_module(Path(folder), manifest), manifest


def load_module(folder: Path, manifest: Manifest) -> nn.Module:
    """Build the module that a folder's manifest names, with its weights, in evaluation mode and without gradients.

    Raises:
        ModelError: something is missing from the folder, or its parts do not fit together.
    """
    path = weights_path(folder)
    try:
        module = _build(folder, manifest)
    except (RuntimeError, ValueError, TypeError) as error:
        raise ModelError(
            f"{path.parent}: the manifest's architecture {manifest.architecture.name!r} cannot be built with the "
            f"arguments {manifest.architecture.arguments!r}: {error}. Expected a manifest that `train` wrote."
        ) from error
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path} cannot be read: {error}. Expected weights that `train` wrote: train again."
        ) from error
    _check_tensors(module.state_dict(), tensors, path)
    module.load_state_dict(tensors, strict=True, assign=True)
    return module.eval().requires_grad_(requires_grad=False)


def _build(folder: Path, manifest: Manifest) -> nn.Module:
    name, arguments = manifest.architecture.name, manifest.architecture.arguments
    if manifest.code is not None:
        # Not on the meta device: what a user's function computes while it builds is its own affair.
        return build_own(folder / CODE, manifest.code, name, arguments)
    with torch.device("meta"):
        return build(name, arguments)


def _check_tensors(expected: dict[str, Tensor], found: dict[str, Tensor], path: Path) -> None:
    """Compare names, shapes and types of the weights with what the manifest's module has."""
    problems = [f"{name} is missing" for name in expected.keys() - found.keys()]
    problems += [f"{name} is unexpected" for name in found.keys() - expected.keys()]
    problems += [
        f"{name} is {_kind(found[name])}, expected {_kind(expected[name])}"
        for name in expected.keys() & found.keys()
        if _kind(found[name]) != _kind(expected[name])
    ]
    if problems:
        shown = "; ".join(sorted(problems)[:5]) + ("; ..." if len(problems) > 5 else "")
        raise ModelError(f"{path} does not fit the manifest beside it: {shown}. Use both from the same training job.")


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
