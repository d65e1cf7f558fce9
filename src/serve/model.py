"""A model folder, loaded and warmed: rows in, predictions out."""

import logging
import threading
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..contract.artifact import Manifest, read_manifest
from ..errors import ModelError
from ..models.load import load_module

Predictions: TypeAlias = NDArray[np.float32]
"""`[rows, classes]` of probabilities (classification), `[rows, vocabulary]` of the next token's (language modelling),
or `[rows]` (regression)."""

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
        outputs: Tensor = self._module(rows.to(getattr(torch, self.manifest.input.dtype)))
        if self.manifest.task == "classification":
            return torch.softmax(outputs, dim=1)
        if self.manifest.task == "language-modelling":
            return torch.softmax(outputs[:, -1], dim=1)
        return outputs.squeeze(1)


def load(folder: Path) -> Model:
    """Load a model folder and let it answer one row, so that the first request finds it warm.

    Runs before the workers are forked, so torch keeps to one thread: a pool of threads would not live through the fork.

    Raises:
        ModelError: something is missing from the folder, or its parts do not fit together.
    """
    torch.set_num_threads(1)
    manifest = read_manifest(folder)
    model = Model(manifest, load_module(folder, manifest))
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
    answers = {"classification": (1, len(manifest.classes or ())), "language-modelling": (1, *shape[1:2])}
    expected = answers.get(manifest.task, (1,))
    if shape != expected:
        raise ModelError(
            f"{folder}: the model answers one row with shape {list(shape)}, expected {list(expected)} by the task "
            f"{manifest.task!r} and the classes in its manifest. Expected a folder that `train` wrote."
        )
