"""The tensors of a run by name, whole or sharded: what a checkpoint holds, and where it goes back to."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from .checkpoint_files import dtype_of
from .checkpoint_manifest import StoredTensor

_MODEL, _OPTIMIZER, _BEST = "model.", "optimizer.", "best."


@dataclass(frozen=True, slots=True)
class State:
    """What a checkpoint holds beside the progress."""

    module: nn.Module
    optimizer: Optimizer
    best: dict[str, Tensor]
    """Weights of the lowest validation loss; empty before the first evaluation."""

    def tensors(self, *, first: bool) -> dict[str, Tensor]:
        """Return `model.*`, `optimizer.<parameter>.*` and `best.*` as this rank has to write them.

        Statistics of batches differ between ranks, and those of the first one count; all else that is not sharded is
        the same everywhere, and any rank can write it.
        """
        parameters = {name for name, _ in self.module.named_parameters(remove_duplicate=False)}
        weights = {_MODEL: self.module.state_dict(), _BEST: self.best}
        found = {
            prefix + name: tensor
            for prefix, tensors in weights.items()
            for name, tensor in tensors.items()
            if first or name in parameters or isinstance(tensor, DTensor)
        }
        for name, parameter in self.module.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                found[f"{_OPTIMIZER}{name}.{key}"] = value
        return found

    def statistics(self) -> set[str]:
        """Names of what a forward pass changes, such as running means."""
        parameters = {name for name, _ in self.module.named_parameters(remove_duplicate=False)}
        return {_MODEL + name for name in self.module.state_dict() if name not in parameters}

    def targets(self, stored: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
        """Return tensors into which those of a checkpoint can be read, by name.

        Weights are those of the module itself. Moments and best weights are made here, sharded as the weights are, and
        hung in where they belong: settings such as the learning rate come from the job.
        """
        weights = self.module.state_dict()
        found = {_MODEL + name: tensor for name, tensor in weights.items()}
        if any(name.startswith(_BEST) for name in stored):
            self.best.update({name: torch.zeros_like(tensor) for name, tensor in weights.items()})
        found |= {_BEST + name: tensor for name, tensor in self.best.items()}
        parameters = dict(self.module.named_parameters())
        self.optimizer.state.clear()
        for name, tensor in stored.items():
            owner, _, key = name.removeprefix(_OPTIMIZER).rpartition(".")
            if name.startswith(_OPTIMIZER) and owner in parameters:
                found[name] = _like(parameters[owner], tensor)
                self.optimizer.state[parameters[owner]][key] = found[name]
        return found


def _like(parameter: Tensor, stored: StoredTensor) -> Tensor:
    """Make a moment, which has the shape of its parameter and is sharded as it is, or a count of steps."""
    dtype = dtype_of(stored)
    if list(parameter.shape) == stored.size:
        return torch.zeros_like(parameter, dtype=dtype, requires_grad=False)
    return torch.zeros(stored.size, dtype=dtype, device=parameter.device)


class Staging:
    """This rank's part of each tensor in memory of the CPU; copied to again and again, since new memory is slow."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def copy(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Copy tensors; the copies hold until the next call."""
        return {name: self._copied(name, local(tensor)) for name, tensor in tensors.items()}

    def _copied(self, name: str, tensor: Tensor) -> Tensor:
        buffer = self._buffers.get(name)
        if buffer is None or buffer.shape != tensor.shape or buffer.dtype != tensor.dtype:
            buffer = self._buffers[name] = torch.empty(tensor.shape, dtype=tensor.dtype)
        return buffer.copy_(tensor.detach())


def local(tensor: Tensor) -> Tensor:
    """Return this rank's part of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
