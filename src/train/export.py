"""The artifact: weights and manifest, whole or not at all."""

import contextlib
import platform
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from .. import __version__
from ..contract import artifact
from ..contract.artifact import Manifest
from ..errors import PlatformError
from .architecture import Blueprint
from .tasks import Classification, Task


def write_artifact(
    folder: Path,
    module: nn.Module,
    blueprint: Blueprint,
    task: Task,
    metrics: Mapping[str, float],
) -> None:
    """Write weights, an own model's code, and then `twofold.json`, by which a reader knows that the folder is whole.

    Raises:
        PlatformError: the disk is full, or the folder may not be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / artifact.MANIFEST).unlink(missing_ok=True)
        # Not by save_file, which leaves a file that only its owner may read: endpoints run as others.
        (folder / artifact.WEIGHTS).write_bytes(save(tensors))
        blueprint.copy_code(folder)
        artifact.write_manifest(
            folder,
            Manifest(
                task=task.name,
                architecture=blueprint.architecture,
                input=blueprint.input,
                code=blueprint.code,
                classes=task.names if isinstance(task, Classification) else None,
                metrics=dict(metrics),
                versions={"twofold": __version__, "torch": torch.__version__, "python": platform.python_version()},
            ),
        )
    except OSError as error:
        # Half of the weights are no use, and the failure file needs room on the same disk.
        with contextlib.suppress(OSError):
            (folder / artifact.WEIGHTS).unlink()
        raise PlatformError(
            f"The model cannot be written to {folder}: {error}. Expected a folder with room for {artifact.WEIGHTS}: "
            f"raise VolumeSizeInGB."
        ) from error
