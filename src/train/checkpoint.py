"""Checkpoints: one safetensors file each, written by the first rank, found again by all.

    checkpoints/
    ├── step-000000400.safetensors
    └── step-000000600.safetensors     tensors `model.*`, `optimizer.<parameter>.*`, `best.*`; progress in the header

The folder is synced with S3 while files are being written, so a file gets its name only when it is whole. All hosts
sync to one prefix: only the first rank of the first host writes.
"""

import contextlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import ConfigError
from .ranks import Ranks
from .sharding import cut_like, whole

log = logging.getLogger(__name__)

KEPT = 2
"""Checkpoints that stay; an older one goes when a newer one is whole."""
_HEADER_LENGTH_BYTES = 8


@dataclass(slots=True)
class Progress:
    """How far a run has come; with the weights and the optimizer, all that it needs to go on."""

    epoch: int = 0
    """Epochs finished."""
    epoch_step: int = 0
    """Steps finished of the epoch under way."""
    step: int = 0
    """Optimizer steps finished in all."""
    closed: int = 0
    """Steps finished when an epoch was last measured and published."""
    epoch_sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    """Loss, score and samples of the epoch under way, over all ranks."""
    best: dict[str, float] = field(default_factory=dict)
    """Validation metrics of the lowest validation loss so far; empty before the first evaluation."""
    worse: int = 0
    """Evaluations since then."""
    scaler: dict[str, Any] = field(default_factory=dict)
    """State of the loss scaler of fp16; empty for other precisions."""


@dataclass(frozen=True, slots=True)
class State:
    """What a checkpoint holds beside the progress."""

    module: nn.Module
    optimizer: Optimizer
    best: dict[str, Tensor]
    """Weights of the lowest validation loss; empty before the first evaluation."""


class Checkpoints:
    """The checkpoint folder of a job."""

    def __init__(self, folder: Path, identity: Mapping[str, Any], ranks: Ranks) -> None:
        """Take the folder, and the settings that a checkpoint must share with the job that resumes from it."""
        self._folder = folder
        self._identity = dict(identity)
        self._ranks = ranks

    def save(self, progress: Progress, state: State) -> None:
        """Write a checkpoint, gathered on the first rank; a full disk costs this checkpoint, not the job."""
        tensors = {name: whole(tensor) for name, tensor in _tensors(state)}
        if not self._ranks.is_first:
            return
        name = f"step-{progress.step:09d}.safetensors"
        partial = self._folder / f".{name}.partial"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                file.write(self._encode(progress, tensors))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self._folder / name)
        except OSError as error:
            _remove([partial])
            log.error("no checkpoint at step %d, earlier ones stay: %s", progress.step, error)
            return
        _remove([*self._newest_first()[KEPT:], *self._folder.glob(".step-*.partial")])
        log.info("checkpoint at step %d: %s", progress.step, self._folder / name)

    def resume(self, state: State) -> Progress:
        """Load the newest whole checkpoint into the state of every rank; without one, a new progress.

        Raises:
            ConfigError: the checkpoint belongs to a run with other settings.
        """
        content = self._ranks.broadcast(self._read_newest() if self._ranks.is_first else None)
        if content is None:
            return Progress()
        identity, written = _header(content)
        self._check_identity(json.loads(identity))
        tensors = load(content)
        own = state.module.state_dict()
        state.module.load_state_dict(_cut(_under("model.", tensors), own))
        _load_optimizer(state.optimizer, _under("optimizer.", tensors))
        state.best.update(_cut(_under("best.", tensors), own))
        progress = Progress(**json.loads(written))
        log.info("resuming at step %d, epoch %d, from %s", progress.step, progress.epoch + 1, self._folder)
        return progress

    def _encode(self, progress: Progress, tensors: Mapping[str, Tensor]) -> bytes:
        header = {"progress": json.dumps(asdict(progress)), "identity": json.dumps(self._identity)}
        return save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, header)

    def _newest_first(self) -> list[Path]:
        return sorted(self._folder.glob("step-*.safetensors"), reverse=True)

    def _read_newest(self) -> bytes | None:
        for path in self._newest_first():
            try:
                content = path.read_bytes()
                load(content)
                _header(content)
            except (OSError, SafetensorError, KeyError) as error:
                log.warning("passing over the broken checkpoint %s: %r", path, error)
            else:
                return content
        return None

    def _check_identity(self, found: dict[str, Any]) -> None:
        for name, value in self._identity.items():
            if found.get(name) != value:
                raise ConfigError(
                    f"The checkpoint in {self._folder} was written with {name}={found.get(name)}, this job has "
                    f"{name}={value}. Go on with the same {name}, or start afresh with an empty checkpoint folder."
                )


def _header(content: bytes) -> tuple[str, str]:
    """Return identity and progress from the metadata of a safetensors file.

    The file is the length of its header, the header in JSON, and tensors, as the README of safetensors has it.
    """
    end = _HEADER_LENGTH_BYTES + int.from_bytes(content[:_HEADER_LENGTH_BYTES], "little")
    metadata: dict[str, str] = json.loads(content[_HEADER_LENGTH_BYTES:end])["__metadata__"]
    return metadata["identity"], metadata["progress"]


def _remove(files: Iterable[Path]) -> None:
    """Remove files if that is possible: what stays costs room, not the job."""
    for file in files:
        with contextlib.suppress(OSError):
            file.unlink()


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _tensors(state: State) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in state.module.state_dict().items():
        yield f"model.{name}", tensor
    for number, values in state.optimizer.state_dict()["state"].items():
        yield from ((f"optimizer.{number}.{name}", tensor) for name, tensor in values.items())
    for name, tensor in state.best.items():
        yield f"best.{name}", tensor


def _cut(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Cut whole tensors as this rank's own are."""
    return {name: cut_like(tensor, own[name]) if name in own else tensor for name, tensor in tensors.items()}


def _load_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put moments back where they belong; settings such as the learning rate come from the job."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = cut_like(tensor, parameters[int(number)])
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed the random numbers of one step of one rank, so that a resumed run draws what an unbroken one does."""
    torch.manual_seed((seed * 1_000_003 + step * 8_191 + rank) % 2**63)
