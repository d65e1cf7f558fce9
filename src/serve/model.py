"""A model folder, loaded and warmed: rows in, predictions out."""

import logging
import threading
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..contract.artifact import Manifest, read_manifest, weights_path
from ..errors import ModelError
from ..models.table import build

Predictions: TypeAlias = NDArray[np.float32]
"""`[rows, classes]` of probabilities (classification) or `[rows]` (regression)."""

_ROWS_AT_ONCE = 4096
"""Rows of one forward pass: bounds what the layers between need, whatever the size of a request."""

log = logging.getLogger(__name__)


class Model:
    """A module with trained weights, ready to answer; safe to call from several threads and after a fork."""

    def __init__(self, manifest: Manifest, module: nn.Module) -> None:
        self.manifest = manifest
        self.row_shape = tuple(manifest.input.shape)
        self._module = module
        self._lock = threading.Lock()

    def predict(self, rows: NDArray[np.float32]) -> Predictions:
        """Answer rows `[n, *row_shape]`: probabilities `[n, classes]`, or one number each `[n]`.

        One call at a time: a worker process has one core, and threads that share it only make each other late.
        """
        with self._lock, torch.inference_mode():
            parts = [rows[start : start + _ROWS_AT_ONCE] for start in range(0, len(rows), _ROWS_AT_ONCE)]
            return torch.cat([self._outputs(torch.from_numpy(part)) for part in parts]).numpy()

    def labels(self, predictions: Predictions) -> list[int | str] | None:
        """Most probable class of each row; None for a regression."""
        classes = self.manifest.classes
        if classes is None:
            return None
        return [classes[index] for index in predictions.argmax(axis=1)]

    def _outputs(self, rows: Tensor) -> Tensor:
        outputs: Tensor = self._module(rows)
        if self.manifest.task == "classification":
            return torch.softmax(outputs, dim=1)
        return outputs.squeeze(1)


def load(folder: Path) -> Model:
    """Load a model folder and let it answer one row, so that the first request finds it warm.

    Runs before the workers are forked, so torch keeps to one thread: a pool of threads would not live through the fork.

    Raises:
        ModelError: something is missing from the folder, or its parts do not fit together.
    """
    torch.set_num_threads(1)
    manifest = read_manifest(folder)
    model = Model(manifest, _load_module(manifest, weights_path(folder)))
    _warm_up(model, folder)
    log.info(
        "Model %s (%s) from %s: rows of shape %s, %s",
        manifest.architecture.name,
        manifest.task,
        folder,
        list(model.row_shape),
        f"{len(manifest.classes)} classes" if manifest.classes else "one number each",
    )
    return model


def _load_module(manifest: Manifest, path: Path) -> nn.Module:
    try:
        with torch.device("meta"):
            module = build(manifest.architecture.name, manifest.architecture.arguments)
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


def _warm_up(model: Model, folder: Path) -> None:
    """Answer one row of zeros, and find out whether the manifest tells the truth."""
    manifest = model.manifest
    try:
        shape = model.predict(np.zeros((1, *model.row_shape), dtype=np.float32)).shape
    except (RuntimeError, IndexError) as error:
        raise ModelError(
            f"{folder}: the model cannot answer a row of shape {list(model.row_shape)}, which its manifest promises: "
            f"{error}. Expected a folder that `train` wrote."
        ) from error
    expected = (1, len(manifest.classes or ())) if manifest.task == "classification" else (1,)
    if shape != expected:
        raise ModelError(
            f"{folder}: the model answers one row with shape {list(shape)}, expected {list(expected)} by the task "
            f"{manifest.task!r} and the classes in its manifest. Expected a folder that `train` wrote."
        )
