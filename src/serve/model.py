"""A model folder, loaded and warmed: rows in, predictions out. Which engine computes them is settled here."""

import logging
import math
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contract.artifact import Manifest, read_manifest
from ..errors import ConfigError, ModelError, RequestError
from .engine import Engine, EngineSettings, Predictions
from .onnx_engine import OnnxEngine

_ROWS_AT_ONCE = 4096
_VALUES_AT_ONCE = 1 << 24
"""Rows and values of one forward pass: bound what the layers between need, whatever the size of a request."""

log = logging.getLogger(__name__)


class Model:
    """A model with trained weights, ready to answer; safe to call from several threads and after a fork."""

    def __init__(self, manifest: Manifest, engine: Engine) -> None:
        self.manifest = manifest
        self.engine = engine
        self.row_shape = tuple(manifest.input.shape)
        self._rows_at_once = max(min(_ROWS_AT_ONCE, _VALUES_AT_ONCE // math.prod(self.row_shape)), 1)
        self._lock = threading.Lock()

    def check(self, rows: NDArray[Any]) -> None:
        """Refuse rows with values that the model cannot take, before they join a batch.

        Raises:
            RequestError: a token or pixel is out of range or not whole; says which.
        """
        top = self.manifest.highest
        if top is None:
            return
        wrong = (rows < 0) | (rows > top) | (rows != np.rint(rows))
        if wrong.any():
            place = tuple(int(axis) for axis in np.unravel_index(int(wrong.argmax()), wrong.shape))
            raise RequestError(
                f"Row {place[0]}, value {list(place[1:])} is {rows[place]:g}. Expected whole numbers from 0 to {top}, "
                f"since the model takes {'tokens' if self.manifest.input.dtype == 'int64' else 'pixels'}."
            )

    def predict(self, rows: NDArray[Any]) -> Predictions:
        """Answer rows `[n, *row_shape]`: probabilities `[n, classes]`, or one number each `[n]`.

        One call at a time: a worker process has one core, and threads that share it only make each other late.
        """
        with self._lock:
            if len(rows) <= self._rows_at_once:
                return self.engine.run(rows)
            starts = range(0, len(rows), self._rows_at_once)
            return np.concatenate([self.engine.run(rows[start : start + self._rows_at_once]) for start in starts])

    def labels(self, predictions: Predictions) -> list[int | str] | None:
        """Most probable class of each row; None for a regression."""
        classes = self.manifest.classes
        if classes is None:
            return None
        return [classes[index] for index in predictions.argmax(axis=1)]


def load(folder: Path, settings: EngineSettings | None = None) -> Model:
    """Load a model folder and let it answer one row, so that the first request finds it warm.

    Raises:
        ModelError: something is missing from the folder, or its parts do not fit together.
        ConfigError: the settings ask for what this artifact or this machine does not have.
    """
    start = time.monotonic()
    manifest = read_manifest(folder)
    model = Model(manifest, _engine(folder, manifest, settings or EngineSettings()))
    _warm_up(model, folder)
    log.info(
        "Model %s (%s) from %s by %s in %.2f s: rows of shape %s, %s",
        manifest.architecture.name,
        manifest.task,
        folder,
        model.engine.name,
        time.monotonic() - start,
        list(model.row_shape),
        f"{len(manifest.classes)} classes" if manifest.classes else "one number each",
    )
    return model


def _engine(folder: Path, manifest: Manifest, settings: EngineSettings) -> Engine:
    if settings.engine == "onnx" and manifest.onnx is None:
        raise ConfigError(
            f"TWOFOLD_ENGINE is 'onnx', but the model in {folder} has no verified ONNX program. Leave the setting out, "
            f"or train again with an image that writes one."
        )
    if manifest.onnx is not None and settings.engine != "pytorch" and not settings.needs_pytorch:
        return OnnxEngine(folder, manifest, manifest.onnx)
    # Not at the top: torch takes a second to import and a hundred megabytes, which ONNX Runtime does without.
    from .torch_engine import TorchEngine  # noqa: PLC0415

    return TorchEngine(folder, manifest, settings)


def _warm_up(model: Model, folder: Path) -> None:
    """Answer one row of zeros, and find out whether the manifest tells the truth."""
    manifest = model.manifest
    try:
        shape = model.predict(np.zeros((1, *model.row_shape), dtype=np.float32)).shape
    except Exception as error:
        # What engines raise has no base in common, and a model that cannot answer zeros cannot serve.
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
