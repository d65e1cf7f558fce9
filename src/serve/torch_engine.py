"""PyTorch as an engine: every artifact, any device; the only module of `serve` that imports torch."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..contract.artifact import Manifest
from ..errors import ConfigError
from ..models.answers import Answers
from ..models.load import load_module
from .engine import EngineSettings, Predictions

_COMPILERS = ("c++", "g++", "clang++")


class TorchEngine:
    """A module with trained weights."""

    name = "PyTorch"

    def __init__(self, folder: Path, manifest: Manifest, settings: EngineSettings) -> None:
        """Load a model folder.

        Runs before the workers are forked, so torch keeps to one thread: a pool of threads would not live through the
        fork. Nor would a GPU's context: the weights go to their device when a worker first answers.

        Raises:
            ModelError: something is missing from the folder, or its parts do not fit together.
            ConfigError: a device that is not here, or no compiler.
        """
        torch.set_num_threads(1)
        self._device = _device(settings.device)
        self._dtype = getattr(torch, manifest.input.dtype)
        self._half = settings.precision == "bf16"
        module = Answers(load_module(folder, manifest), manifest.task).eval()
        self._module: nn.Module = _compiled(module) if settings.compile else module
        self._loader = os.getpid()
        self._placed = torch.device("cpu")

    def run(self, rows: NDArray[Any]) -> Predictions:
        """Answer rows `[n, *row_shape]`."""
        if self._placed != self._device and os.getpid() != self._loader:
            self._module.to(self._device)
            self._placed = self._device
        with torch.inference_mode(), torch.autocast(self._placed.type, torch.bfloat16, enabled=self._half):
            tensor = torch.from_numpy(np.ascontiguousarray(rows)).to(self._placed, self._dtype)
            answers: Predictions = self._module(tensor).cpu().numpy()
        return answers


def _device(setting: str) -> torch.device:
    """Find the device without waking a GPU, which no process may do before it forks."""
    count = torch.cuda.device_count()
    if setting == "auto":
        return torch.device("cuda:0" if count else "cpu")
    try:
        device = torch.device(setting)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda") or (device.type == "cuda" and (device.index or 0) >= count):
        raise ConfigError(
            f"TWOFOLD_DEVICE is {setting!r}, and this container has {count} GPUs. Expected 'auto', 'cpu' or one of its "
            f"GPUs, such as 'cuda:0'. Correct it in the model's Environment."
        )
    return device


def _compiled(module: nn.Module) -> nn.Module:
    if not any(map(shutil.which, _COMPILERS)):
        raise ConfigError(
            f"TWOFOLD_COMPILE is true, but there is no C++ compiler ({', '.join(_COMPILERS)}), which torch.compile "
            f"needs. Leave it out, or install one in an image of your own."
        )
    module.compile(dynamic=True)
    return module
