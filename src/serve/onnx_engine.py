"""ONNX Runtime as an engine: the program that `train` verified against PyTorch; torch is never imported."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ..contract.artifact import MANIFEST, Manifest, Program
from ..errors import ModelError
from .engine import Predictions


class OnnxEngine:
    """A session over an artifact's program.

    It is made before the workers are forked: with one thread an operator a session has no pool of threads that a fork
    would lose, and all workers share the pages of its weights.
    """

    name = "ONNX Runtime"

    def __init__(self, folder: Path, manifest: Manifest, program: Program) -> None:
        """Load the program of a model folder.

        Raises:
            ModelError: it is missing, broken or of another signature.
        """
        path = folder / program.file
        if path.parent != folder or not path.is_file():
            raise ModelError(
                f"No {program.file} in {folder}, which {MANIFEST} names as its ONNX program. The model folder is "
                f"incomplete: train again, or set TWOFOLD_ENGINE to 'pytorch'."
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            # Its exceptions have no base of their own.
            raise ModelError(
                f"{path} cannot be loaded: {error}. Expected a program that `train` wrote: train again, or set "
                f"TWOFOLD_ENGINE to 'pytorch'."
            ) from error
        self._dtype = np.dtype(manifest.input.dtype)
        self._inputs = [entry.name for entry in self._session.get_inputs()]
        self._outputs = [entry.name for entry in self._session.get_outputs()]
        if len(self._inputs) != 1 or len(self._outputs) != 1:
            raise ModelError(
                f"{path} takes {len(self._inputs)} inputs and gives {len(self._outputs)} outputs. Expected one of "
                f"each, as `train` writes it: train again, or set TWOFOLD_ENGINE to 'pytorch'."
            )

    def run(self, rows: NDArray[Any]) -> Predictions:
        """Answer rows `[n, *row_shape]`."""
        feed = {self._inputs[0]: np.ascontiguousarray(rows, dtype=self._dtype)}
        answers: Predictions = self._session.run(self._outputs, feed)[0]
        return answers
