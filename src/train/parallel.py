"""How ranks share a step: one forward and backward pass whose gradient is that of the whole global batch."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .architecture import Blueprint
from .config import TrainingConfig
from .degrees import choose_degrees
from .mesh import open_mesh
from .ranks import Ranks
from .samples import Batch
from .sharding import full_weights, shard
from .tasks import Task

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Sums:
    """What a rank has seen of one global batch."""

    loss: Tensor
    """Sum of losses, a scalar without gradient."""
    score: Tensor
    """Sum of scores, a scalar."""
    count: int
    """Samples."""
    tally: Tensor | None = None
    """The task's tally, in an evaluation."""


class Replica:
    """A model on one rank of many, whole or a part of it; `module` is what is saved and evaluated."""

    def __init__(self, module: nn.Module, config: TrainingConfig, ranks: Ranks) -> None:
        """Take the module over, cut as `parallel` asks; call it on every rank.

        Raises:
            ConfigError: the ranks, or this model, cannot share the work as asked.
        """
        self.module = module
        self._ranks = ranks
        self._dtype = _DTYPES.get(config.precision)
        self._micro_batch_size = config.micro_batch_size
        degrees = choose_degrees(config, ranks.world, ranks.local_world)
        self.mesh = open_mesh(degrees, ranks)
        shard(module, config, self.mesh, ranks)
        callable_module = torch.compile(module) if config.compile and not degrees.sharded else module
        self._ddp = (
            DistributedDataParallel(callable_module, device_ids=[ranks.device] if ranks.device.type == "cuda" else None)
            if degrees.kind == "ddp"
            else None
        )
        self._forward = self._ddp or callable_module

    def accumulate(self, batch: Batch, task: Task, scaler: torch.amp.GradScaler) -> Sums:
        """Add the gradient of the global batch's mean loss, over all ranks, to the parameters.

        Shares may be uneven, or empty on a rank: losses are divided by the global count, and multiplied by the number
        of ranks with different samples because DDP and FSDP average over them.
        """
        loss_sum = torch.zeros((), device=self._ranks.device)
        score_sum = torch.zeros((), device=self._ranks.device)
        targets = task.targets(batch.labels)
        parts = list(self._micro_batches(len(batch.rows)))
        for part in parts:
            with self._unsynced() if part is not parts[-1] else nullcontext(), self._autocast():
                outputs = self._forward(batch.rows[part].to(self._ranks.device))
                part_targets = targets[part].to(self._ranks.device)
                losses = task.losses(outputs, part_targets).sum()
                scaler.scale(losses * (self.mesh.degrees.data / batch.global_count)).backward()  # type: ignore[no-untyped-call]
            loss_sum += losses.detach()
            score_sum += task.scores(outputs.detach(), part_targets).sum()
        return self._counted(Sums(loss_sum, score_sum, len(batch.rows)))

    def _micro_batches(self, count: int) -> Iterator[slice]:
        """Slices of a rank's share; one empty slice where the share is empty, since peers wait for every rank.

        Where weights are gathered layer by layer every rank takes as many, since peers wait in each of them.
        """
        size = self._micro_batch_size or max(count, 1)
        number = max(-(-count // size), 1)
        if self._micro_batch_size and self.mesh.degrees.fully_sharded:
            number = self._ranks.largest(number)
        for start in range(0, number * size, size):
            yield slice(min(start, count), min(start + size, count))

    def _unsynced(self) -> AbstractContextManager[None]:
        return self._ddp.no_sync() if self._ddp else nullcontext()

    def _autocast(self) -> AbstractContextManager[None]:
        if self._dtype is None:
            return nullcontext()
        return torch.autocast(self._ranks.device.type, dtype=self._dtype)

    def whole(self, blueprint: Blueprint) -> nn.Module:
        """Return the plain module with all weights, on the first rank; others have no use for theirs.

        Call it on every rank.
        """
        if not self.mesh.degrees.sharded:
            return self.module
        weights = full_weights(self.module)
        if not self._ranks.is_first:
            return self.module
        module = blueprint.build()
        module.load_state_dict(weights)
        return module

    def evaluate(self, batch: Batch, task: Task) -> Sums:
        """Losses and scores of this rank's share of a batch, in evaluation mode."""
        targets = task.targets(batch.labels).to(self._ranks.device)
        # Weights that are gathered for a forward pass must not become tensors of inference mode.
        with torch.no_grad() if self.mesh.degrees.sharded else torch.inference_mode(), self._autocast():
            outputs = self.module(batch.rows.to(self._ranks.device))
            return self._counted(
                Sums(
                    task.losses(outputs, targets).sum(),
                    task.scores(outputs, targets).sum(),
                    len(batch.rows),
                    task.tally(outputs, targets),
                )
            )

    def _counted(self, sums: Sums) -> Sums:
        """Return the sums, or nothing where another rank that sees the same samples counts them."""
        if self.mesh.counts:
            return sums
        tally = None if sums.tally is None else torch.zeros_like(sums.tally)
        return Sums(torch.zeros_like(sums.loss), torch.zeros_like(sums.score), 0, tally)
