"""How ranks share a step: one forward and backward pass whose gradient is that of the whole global batch."""

import functools
import gc
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .architecture import Blueprint
from .config import TrainingConfig
from .degrees import choose_degrees
from .memory import MicroBatch, told
from .mesh import open_mesh
from .ranks import Ranks
from .samples import Batch
from .sharding import full_weights, shard
from .tasks import Task

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_TO_PROVE = 2
"""Steps after which a size of micro-batch has proven to fit: the second has the optimizer's state in memory."""
Found = TypeVar("Found")


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

    def plus(self, other: "Sums") -> "Sums":
        """Add those of other samples."""
        tally = None if self.tally is None or other.tally is None else self.tally + other.tally
        return Sums(self.loss + other.loss, self.score + other.score, self.count + other.count, tally)


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
        self._trained, self._measured = MicroBatch(config.micro_batch_size, ranks), MicroBatch(0, ranks)
        self._proven = 0
        degrees = choose_degrees(config, ranks.world, ranks.local_world)
        self.mesh = open_mesh(degrees, ranks)
        self._guard = shard(module, config, self.mesh, ranks)
        self._plain = torch.compile(module) if config.compile and not degrees.sharded else module
        self._ddp = self._wrap() if degrees.kind == "ddp" else None

    def _wrap(self) -> DistributedDataParallel:
        device = self._ranks.device
        return DistributedDataParallel(self._plain, device_ids=[device] if device.type == "cuda" else None)

    def accumulate(self, batch: Batch, task: Task, scaler: torch.amp.GradScaler) -> Sums:
        """Add the gradient of the global batch's mean loss, over all ranks, to the parameters, which have none yet.

        Shares may be uneven, or empty on a rank: losses are divided by the global count, and multiplied by the number
        of ranks with different samples because DDP and FSDP average over them. Where memory runs out on a rank, all
        begin again with smaller micro-batches.

        Raises:
            torch.OutOfMemoryError: not even one sample fits, or peers were waiting for this rank.
        """
        while (sums := self._attempt(batch, task, scaler)) is None:
            self._trained.halve(len(batch.rows))
            self.module.zero_grad()
            if self._ddp is not None and self._proven >= _TO_PROVE:
                # On ranks whose forward pass ended well it waits for the backward pass: its hooks must go before it.
                self._ddp = None
                gc.collect()
                self._ddp = self._wrap()
            self._proven = 0
        self._proven += 1
        return self._counted(sums)

    def _attempt(self, batch: Batch, task: Task, scaler: torch.amp.GradScaler) -> Sums | None:
        """Take all micro-batches of a step; None where memory has run out on any rank.

        Backward passes meet peers, and a peer that waits there cannot be told anything. So DDP does without them until
        a size has proven to fit: then gradients are averaged afterwards.
        """
        alone = self._ddp is None or self._proven < _TO_PROVE
        apart = alone and not self.mesh.degrees.sharded
        loss_sum = torch.zeros((), device=self._ranks.device)
        score_sum = torch.zeros((), device=self._ranks.device)
        targets, fits = task.targets(batch.labels), True
        parts = self._trained.slices(len(batch.rows), equal=not apart)
        weight = self.mesh.degrees.data / batch.global_count
        forward = self._plain if apart or self._ddp is None else self._ddp

        def measure(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
            return task.losses(outputs, targets).sum(), task.scores(outputs.detach(), targets).sum()

        for part in parts:
            with nullcontext() if apart or part is parts[-1] else self._unsynced(), self._autocast():
                found = self._try(forward, batch.rows[part], targets[part], measure)
                if not apart and self._ranks.any(found is None):
                    return None
                fits = found is not None and self._backward(scaler.scale(found[0] * weight), apart=apart)
            if found is None or not fits:
                break
            loss_sum += found[0].detach()
            score_sum += found[1]
        if apart and self._ranks.any(not fits):
            return None
        if apart and self._ddp is not None:
            self._average_gradients()
        return Sums(loss_sum, score_sum, len(batch.rows))

    def _try(
        self,
        forward: Callable[[Tensor], Tensor],
        rows: Tensor,
        targets: Tensor,
        measure: Callable[[Tensor, Tensor], Found],
    ) -> Found | None:
        """Return what is measured of a micro-batch; None where memory has run out."""
        try:
            outputs = forward(rows.to(self._ranks.device))
            if self._guard is not None and self._guard.ran_out:
                return None
            return measure(outputs, targets.to(self._ranks.device))
        except torch.OutOfMemoryError as error:
            unguarded = self.mesh.degrees.sharded and self._guard is None
            if unguarded or (self._guard is not None and self._guard.is_inside):
                # Peers wait inside of the model: leaving is what ends their wait.
                raise told(error) from None
            return None

    def _backward(self, loss: Tensor, *, apart: bool) -> bool:
        """Add gradients; False where memory has run out."""
        try:
            loss.backward()  # type: ignore[no-untyped-call]
        except torch.OutOfMemoryError as error:
            if not apart:
                raise told(error) from None
            return False
        return True

    def _average_gradients(self) -> None:
        for parameter in self.module.parameters():
            if parameter.requires_grad:
                gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                # In the order of DDP's own arithmetic, so that a resumed run stays equal to the last bit.
                parameter.grad = self._ranks.sum(gradient.mul_(1.0 / self._ranks.world))

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
        while (sums := self._measure(batch, task)) is None:
            self._measured.halve(len(batch.rows))
        return self._counted(sums)

    def _measure(self, batch: Batch, task: Task) -> Sums | None:
        """Measure all micro-batches of a batch; None where memory has run out on any rank."""

        def measure(outputs: Tensor, targets: Tensor) -> Sums:
            losses, scores = task.losses(outputs, targets), task.scores(outputs, targets)
            return Sums(losses.sum(), scores.sum(), len(outputs), task.tally(outputs, targets))

        targets, found = task.targets(batch.labels), []
        # Weights that are gathered for a forward pass must not become tensors of inference mode.
        with torch.no_grad() if self.mesh.degrees.sharded else torch.inference_mode(), self._autocast():
            for part in self._measured.slices(len(batch.rows), equal=True):
                sums = self._try(self.module, batch.rows[part], targets[part], measure)
                if self._ranks.any(sums is None) or sums is None:
                    return None
                found.append(sums)
        return functools.reduce(Sums.plus, found)

    def _counted(self, sums: Sums) -> Sums:
        """Return the sums, or nothing where another rank that sees the same samples counts them."""
        if self.mesh.counts:
            return sums
        tally = None if sums.tally is None else torch.zeros_like(sums.tally)
        return Sums(torch.zeros_like(sums.loss), torch.zeros_like(sums.score), 0, tally)
