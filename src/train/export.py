"""The artifact: weights and manifest, whole or not at all."""

import platform
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from .. import __version__
from ..contract import artifact
from ..contract.artifact import Architecture, Manifest, Signature
from ..errors import PlatformError
from .tasks import Classification, Task


def write_artifact(
    folder: Path,
    module: nn.Module,
    architecture: Architecture,
    task: Task,
    metrics: Mapping[str, float],
    *,
    features: int,
) -> None:
    """Write `weights.safetensors` and then `twofold.json`, by which a reader knows that the folder is whole.

    Raises:
        PlatformError: the disk is full, or the folder may not be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / artifact.MANIFEST).unlink(missing_ok=True)
        # Not by save_file, which leaves a file that only its owner may read: endpoints run as others.
        (folder / artifact.WEIGHTS).write_bytes(save(tensors))
        artifact.write_manifest(
            folder,
            Manifest(
                task=task.name,
                architecture=architecture,
                input=Signature(shape=[features]),
                classes=list(task.classes) if isinstance(task, Classification) else None,
                metrics=dict(metrics),
                versions={"twofold": __version__, "torch": torch.__version__, "python": platform.python_version()},
            ),
        )
    except OSError as error:
        raise PlatformError(
            f"The model cannot be written to {folder}: {error}. Expected a folder with room for {artifact.WEIGHTS}: "
            f"raise VolumeSizeInGB."
        ) from error
