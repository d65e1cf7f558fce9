"""How ranks share a step: one forward and backward pass whose gradient is that of the whole global batch."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .architecture import Blueprint
from .config import MODELS, TrainingConfig
from .degrees import choose_degrees
from .flagged import Flagged
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


@dataclass(slots=True)
class _Step:
    """One attempt at a batch, and what it has seen so far."""

    batch: Batch
    task: Task
    scaler: torch.amp.GradScaler
    targets: Tensor
    loss: Tensor
    score: Tensor

    @staticmethod
    def of(batch: Batch, task: Task, scaler: torch.amp.GradScaler, device: torch.device) -> "_Step":
        """Begin with nothing seen."""
        targets = task.targets(batch.labels).to(device)
        return _Step(batch, task, scaler, targets, torch.zeros((), device=device), torch.zeros((), device=device))

    @property
    def count(self) -> int:
        """Samples of this rank's share."""
        return len(self.batch.rows)


def _has_statistics(module: nn.Module, config: TrainingConfig) -> bool:
    """Whether a forward pass may change buffers: in models of ours only statistics of batches do."""
    return config.model not in MODELS or any(getattr(part, "track_running_stats", False) for part in module.modules())


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
        self._ddp = None
        if degrees.kind == "ddp":
            self._ddp = DistributedDataParallel(Flagged(module), forward_sync_buffers=_has_statistics(module, config))
        self.interrupted = False
        """Whether any rank was told to stop, as of the last step."""

    @property
    def tried(self) -> int:
        """Most samples that a forward pass has had with micro-batches as large as now; of an evaluation before any.

        0 once memory has run out with one sample: then no less can be tried.
        """
        if self._trained.is_least or self._measured.is_least:
            return 0
        return self._trained.tried or self._measured.tried

    def accumulate(
        self,
        batch: Batch,
        task: Task,
        scaler: torch.amp.GradScaler,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> Sums:
        """Add the gradient of the global batch's mean loss, over all ranks, to the parameters, which have none yet.

        Shares may be uneven, or empty on a rank: losses are divided by the global count, and multiplied by the number
        of ranks with different samples because DDP and FSDP average over them. Where memory runs out on a rank, all
        begin again with smaller micro-batches. `interrupted`, whether this rank was told to stop, is asked late in the
        step; the attribute of that name then says whether any was.

        Raises:
            torch.OutOfMemoryError: not even one sample fits, or peers were waiting for this rank.
        """
        while not self._attempt(step := _Step.of(batch, task, scaler, self._ranks.device), interrupted):
            self._trained.halve(step.count)
            self.module.zero_grad()
            self._proven = 0
        self._proven += 1
        return self._counted(Sums(step.loss, step.score, step.count))

    def _attempt(self, step: "_Step", interrupted: Callable[[], bool]) -> bool:
        """Take all micro-batches of a step; False where memory has run out on any rank."""
        if self.mesh.degrees.sharded:
            return self._sharded(step, interrupted)
        if self._ddp is None or self._proven < _TO_PROVE:
            return self._apart(step, interrupted)
        return self._together(self._ddp, step, interrupted)

    def _apart(self, step: "_Step", interrupted: Callable[[], bool]) -> bool:
        """Average gradients afterwards, until a size has proven to fit.

        Peers that wait in a backward pass cannot be told that memory has run out in this one's.
        """
        fits = all(self._fits(step, part) for part in self._trained.slices(step.count, equal=False))
        self.interrupted, ran_out = self._ranks.any_of(interrupted(), not fits)
        if self._ddp is not None and not ran_out:
            self._average_gradients()
        return not ran_out

    def _together(self, ddp: DistributedDataParallel, step: "_Step", interrupted: Callable[[], bool]) -> bool:
        """Average gradients while the last micro-batch computes them; the flags of all ranks come with them."""
        flagged: Flagged = ddp.module
        *early, last = self._trained.slices(step.count, equal=False)
        flagged.ran_out = not all(self._fits(step, part) for part in early)
        loss = ddp(functools.partial(self._loss, step), last)
        self._backward(flagged.with_flags(loss, interrupted=interrupted()))
        self.interrupted, ran_out = flagged.seen()
        return not ran_out

    def _sharded(self, step: "_Step", interrupted: Callable[[], bool]) -> bool:
        """Agree before each backward pass: peers wait in it for every rank."""
        for part in self._trained.slices(step.count, equal=True):
            loss = self._try(functools.partial(self._loss, step, part))
            self.interrupted, ran_out = self._ranks.any_of(interrupted(), loss is None)
            if ran_out or loss is None:
                return False
            self._backward(loss)
        return True

    def _fits(self, step: "_Step", part: slice) -> bool:
        """Add the gradients of a micro-batch that meets no peer; False where memory has run out."""
        try:
            self._loss(step, part).backward()  # type: ignore[no-untyped-call]
        except torch.OutOfMemoryError:
            return False
        return True

    def _loss(self, step: "_Step", part: slice) -> Tensor:
        """Return what a micro-batch adds to the loss of the global batch, as the backward pass needs it."""
        with self._autocast():
            outputs, targets = self._outputs(self._plain, step.batch.rows[part]), step.targets[part]
            losses = step.task.losses(outputs, targets).sum()
            step.score += step.task.scores(outputs.detach(), targets).sum()
        step.loss += losses.detach()
        return step.scaler.scale(losses * (self.mesh.degrees.data / step.batch.global_count))

    def _outputs(self, module: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        outputs = module(rows.to(self._ranks.device))
        if self._guard is not None and self._guard.ran_out:
            raise torch.OutOfMemoryError("The memory of a device ran out in a block")
        return outputs

    def _try(self, measure: Callable[[], Found]) -> Found | None:
        """Return what is measured of a micro-batch; None where memory has run out."""
        try:
            return measure()
        except torch.OutOfMemoryError as error:
            unguarded = self.mesh.degrees.sharded and self._guard is None
            if unguarded or (self._guard is not None and self._guard.is_inside):
                # Peers wait inside of the model: leaving is what ends their wait.
                raise told(error) from None
            return None

    @staticmethod
    def _backward(loss: Tensor) -> None:
        """Add gradients of all ranks, which wait for one another."""
        try:
            loss.backward()  # type: ignore[no-untyped-call]
        except torch.OutOfMemoryError as error:
            raise told(error) from None

    def _average_gradients(self) -> None:
        for parameter in self.module.parameters():
            if parameter.requires_grad:
                gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                # In the order of DDP's own arithmetic, so that a resumed run stays equal to the last bit.
                parameter.grad = self._ranks.sum(gradient.mul_(1.0 / self._ranks.world))

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

        def measure(part: slice) -> Sums:
            outputs, wanted = self._outputs(self.module, batch.rows[part]), targets[part]
            losses, scores = task.losses(outputs, wanted), task.scores(outputs, wanted)
            return Sums(losses.sum(), scores.sum(), len(outputs), task.tally(outputs, wanted))

        targets, found = task.targets(batch.labels).to(self._ranks.device), []
        # Weights that are gathered for a forward pass must not become tensors of inference mode.
        with torch.no_grad() if self.mesh.degrees.sharded else torch.inference_mode(), self._autocast():
            for part in self._measured.slices(len(batch.rows), equal=True):
                sums = self._try(functools.partial(measure, part))
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
