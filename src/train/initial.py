"""Weights that training starts from: those of an artifact, to be tuned on other data."""

import logging
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..contract.archives import unpack
from ..contract.artifact import MANIFEST, Architecture, read_manifest, weights_path
from ..contract.job import TrainingJob
from ..errors import ConfigError, ModelError
from ..models.standardize import Restore

log = logging.getLogger(__name__)

ARCHIVE = "model.tar.gz"
"""An artifact as SageMaker packs it, and as a channel brings it."""
_MAY_DIFFER = {"outputs", "dropout", "restore"}


def start_from(
    place: str, module: nn.Module, architecture: Architecture, job: TrainingJob, scratch: Path, *, new_head: bool
) -> None:
    """Load the weights of an artifact into a module of the same architecture.

    Args:
        place: a channel, or a folder or archive by its path.
        module: takes the weights.
        architecture: the module's.
        job: has the channels.
        scratch: folder for what is unpacked, of this rank alone.
        new_head: leave the last linear layer, and the units of a regression's target, as they are.

    Raises:
        ConfigError: there is no artifact, or it is one of another architecture or other shapes.
    """
    folder = _folder(place, job, scratch)
    manifest = read_manifest(folder)
    _check_architecture(manifest.architecture, architecture, folder)
    try:
        found = load_file(weights_path(folder))
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"The weights in {folder} cannot be read: {error}. Expected those that `train` wrote."
        ) from error
    own = module.state_dict()
    kept = _head(module) if new_head else set()
    _check_shapes(own, found, kept, folder)
    module.load_state_dict({name: own[name] if name in kept else found[name] for name in own})
    log.info("starting from the weights in %s%s", folder, f", but for {', '.join(sorted(kept))}" if kept else "")


def _folder(place: str, job: TrainingJob, scratch: Path) -> Path:
    path = job.channels[place].path if place in job.channels else Path(place)
    archive = path if path.is_file() else path / ARCHIVE
    if not (path / MANIFEST).is_file() and archive.is_file():
        path = scratch / "initial"
        expected = f"Expected a {ARCHIVE} as `train` wrote it, without links: correct init_from."
        unpack(archive, path, named_as=str(archive), expected=expected)
    if not (path / MANIFEST).is_file():
        raise ConfigError(
            f"init_from is {place!r}: there is no {MANIFEST} and no {ARCHIVE} in {path}. Expected a channel "
            f"({', '.join(sorted(job.channels)) or 'this job has none'}) or a folder with what `train` wrote."
        )
    return path


def _check_architecture(found: Architecture, own: Architecture, folder: Path) -> None:
    differing = [
        f"{name} is {found.arguments.get(name)!r} there and {own.arguments.get(name)!r} here"
        for name in sorted(found.arguments.keys() | own.arguments.keys())
        if name not in _MAY_DIFFER and found.arguments.get(name) != own.arguments.get(name)
    ]
    if found.name != own.name:
        differing = [f"the model is {found.name!r} there and {own.name!r} here"]
    if differing:
        raise ConfigError(
            f"init_from: the artifact in {folder} is of another architecture: {'; '.join(differing)}. Expected the "
            f"same: change the hyperparameters of this job, or start from another artifact."
        )


def _head(module: nn.Module) -> set[str]:
    """Names of the tensors that belong to the answers: the last linear layer, and the units of a target."""
    linear = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    units = [name for name, part in module.named_modules() if isinstance(part, Restore)]
    prefixes = tuple(f"{name}." for name in [*linear[-1:], *units])
    return {name for name in module.state_dict() if name.startswith(prefixes)}


def _check_shapes(own: dict[str, Tensor], found: dict[str, Tensor], kept: set[str], folder: Path) -> None:
    problems = [f"{name} is missing" for name in own.keys() - found.keys() - kept]
    problems += [f"{name} is unexpected" for name in found.keys() - own.keys()]
    problems += [
        f"{name} has the shape {list(found[name].shape)}, here {list(own[name].shape)}"
        for name in own.keys() & found.keys() - kept
        if found[name].shape != own[name].shape
    ]
    if problems:
        shown = "; ".join(sorted(problems)[:5]) + ("; ..." if len(problems) > 5 else "")
        raise ConfigError(
            f"init_from: the weights in {folder} do not fit: {shown}. Expected the same shapes: where only the classes "
            f"differ, set 'init_head' to 'new'; else use the same sizes as the artifact."
        )
