"""The tensors of a run by name, whole or sharded: what a checkpoint holds, and where it goes back to."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from .checkpoint_files import dtype_of
from .checkpoint_manifest import StoredTensor

_MODEL, _OPTIMIZER, _BEST = "model.", "optimizer.", "best."
_PIECE_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class State:
    """What a checkpoint holds beside the progress."""

    module: nn.Module
    optimizer: Optimizer
    best: dict[str, Tensor]
    """Weights of the lowest validation loss, replaced whole; empty before the first evaluation."""

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

    def fixed(self) -> dict[str, Tensor]:
        """Return `best.*` where it is on the CPU: no copy is needed of what is replaced and never changed."""
        own = {_BEST + name: local(tensor) for name, tensor in self.best.items()}
        return {name: tensor for name, tensor in own.items() if tensor.device.type == "cpu"}

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
        return {name: self._buffer(name, source).copy_(source) for name, source in _sources(tensors).items()}

    def begin(self, tensors: Mapping[str, Tensor]) -> "Copying":
        """Return the same copies, yet to be made."""
        sources = _sources(tensors)
        return Copying({name: (self._buffer(name, source), source) for name, source in sources.items()})

    def _buffer(self, name: str, source: Tensor) -> Tensor:
        buffer = self._buffers.get(name)
        if buffer is None or buffer.shape != source.shape or buffer.dtype != source.dtype:
            buffer = self._buffers[name] = torch.empty(source.shape, dtype=source.dtype)
        return buffer


class Copying:
    """Copies that threads make together: whoever has time takes the next piece, and all are there when one returns."""

    def __init__(self, pairs: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Take copy and original of each tensor."""
        self.copies = {name: copy for name, (copy, _) in pairs.items()}
        self._left = deque(piece for pair in pairs.values() for piece in _pieces(*pair))
        self._under_way = 0
        self._changed = threading.Condition()
        self._failed = False

    def finish(self) -> None:
        """Copy what is left with all threads that torch may use, and wait for what another thread has begun.

        Raises:
            RuntimeError: a copy failed, here or there.
        """
        self._work(lambda copy, source: copy.copy_(source))

    def finish_quietly(self) -> None:
        """Do so with this thread alone: torch would make a team of threads for it, as large as that of training."""
        self._work(_copy_alone)

    def _work(self, copy_piece: Callable[[Tensor, Tensor], object]) -> None:
        while pair := self._take():
            try:
                copy_piece(*pair)
            except BaseException:
                self._failed = True
                raise
            finally:
                with self._changed:
                    self._under_way -= 1
                    self._changed.notify_all()
        with self._changed:
            self._changed.wait_for(lambda: not self._under_way)
        if self._failed:
            raise RuntimeError("the state could not be copied")

    def _take(self) -> tuple[Tensor, Tensor] | None:
        with self._changed:
            if not self._left:
                return None
            self._under_way += 1
            return self._left.popleft()


def _sources(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: local(tensor).detach() for name, tensor in tensors.items()}


def _pieces(copy: Tensor, source: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut a copy: training waits for the piece that another thread is at."""
    if not source.is_contiguous():
        return iter([(copy, source)])
    count = max(1, _PIECE_BYTES // source.element_size())
    return zip(torch.split(copy.view(-1), count), torch.split(source.view(-1), count), strict=True)


def _copy_alone(copy: Tensor, source: Tensor) -> None:
    if source.device.type == "cpu" and source.is_contiguous():
        np.copyto(copy.view(torch.uint8).numpy(), source.view(torch.uint8).numpy())
    else:
        copy.copy_(source)


def local(tensor: Tensor) -> Tensor:
    """Return this rank's part of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
