"""This rank's part of each global batch."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .plan import Plan, rank_slots
from .shards import Rows, Shards


@dataclass(frozen=True, slots=True)
class Batch:
    """What one rank sees of one global batch."""

    step: int
    """Number of the global batch in its epoch, from 0."""
    rows: Tensor
    """Features `[n, features]` float32; n can be 0 where a short last batch leaves nothing for this rank."""
    labels: Tensor
    """Labels `[n]` float32 as they stand in the data."""
    global_count: int
    """Samples of the global batch over all ranks, the divisor of its mean loss."""


@dataclass(frozen=True, slots=True)
class Loader:
    """Batches of a channel for one rank of many."""

    shards: Shards
    batch_size: int
    """Samples of a global batch, over all ranks."""
    seed: int
    rank: int = 0
    world: int = 1
    shuffle: bool = True

    def plan(self, epoch: int) -> Plan:
        """Return the order of an epoch."""
        return Plan(
            shard_sizes=self.shards.sizes,
            batch_size=self.batch_size,
            seed=self.seed,
            epoch=epoch,
            shuffle=self.shuffle,
        )

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from `first_step` on; starting late costs nothing."""
        plan = self.plan(epoch)
        slots = rank_slots(self.batch_size, self.rank, self.world)
        for step in range(first_step, plan.steps):
            labels, rows = _split(self.shards.gather(plan.batch(step, slots)))
            yield Batch(step=step, rows=rows, labels=labels, global_count=plan.count(step))


def _split(samples: Rows) -> tuple[Tensor, Tensor]:
    """Labels `[n]` and features `[n, features]` of samples with the label first."""
    tensor = torch.from_numpy(samples)
    return tensor[:, 0].contiguous(), tensor[:, 1:].contiguous()
