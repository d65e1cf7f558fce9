"""How ranks share a step: one forward and backward pass whose gradient is that of the whole global batch."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .config import TrainingConfig
from .ranks import Ranks
from .samples import Batch
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
    """A model on one rank of many; `module` is the plain model, which is what is saved and evaluated."""

    def __init__(self, module: nn.Module, config: TrainingConfig, ranks: Ranks) -> None:
        self.module = module.to(ranks.device)
        self._ranks = ranks
        self._dtype = _DTYPES.get(config.precision)
        self._micro_batch_size = config.micro_batch_size
        callable_module = torch.compile(self.module) if config.compile else self.module
        self._ddp = (
            DistributedDataParallel(callable_module, device_ids=[ranks.device] if ranks.device.type == "cuda" else None)
            if ranks.world > 1
            else None
        )
        self._forward = self._ddp or callable_module

    def accumulate(self, batch: Batch, task: Task, scaler: torch.amp.GradScaler) -> Sums:
        """Add the gradient of the global batch's mean loss, over all ranks, to the parameters.

        Shares may be uneven, or empty on a rank: losses are divided by the global count, and multiplied by the number
        of ranks because DDP averages over them.
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
                scaler.scale(losses * (self._ranks.world / batch.global_count)).backward()  # type: ignore[no-untyped-call]
            loss_sum += losses.detach()
            score_sum += task.scores(outputs.detach(), part_targets).sum()
        return Sums(loss_sum, score_sum, len(batch.rows))

    def _micro_batches(self, count: int) -> Iterator[slice]:
        """Slices of a rank's share; one empty slice where the share is empty, since DDP waits for every rank."""
        size = self._micro_batch_size or max(count, 1)
        for start in range(0, max(count, 1), size):
            yield slice(start, min(start + size, count))

    def _unsynced(self) -> AbstractContextManager[None]:
        return self._ddp.no_sync() if self._ddp else nullcontext()

    def _autocast(self) -> AbstractContextManager[None]:
        if self._dtype is None:
            return nullcontext()
        return torch.autocast(self._ranks.device.type, dtype=self._dtype)

    @torch.inference_mode()
    def evaluate(self, batch: Batch, task: Task) -> Sums:
        """Losses and scores of this rank's share of a batch, in evaluation mode."""
        targets = task.targets(batch.labels).to(self._ranks.device)
        with self._autocast():
            outputs = self.module(batch.rows.to(self._ranks.device))
        return Sums(
            task.losses(outputs, targets).sum(),
            task.scores(outputs, targets).sum(),
            len(batch.rows),
            task.tally(outputs, targets),
        )
