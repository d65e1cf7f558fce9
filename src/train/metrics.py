"""Running sums of an epoch."""

from collections.abc import Sequence

import torch

from .parallel import Sums
from .ranks import Ranks
from .tasks import Task


class Meter:
    """Sums of losses, scores and samples of one rank over an epoch."""

    def __init__(self, ranks: Ranks, before: Sequence[float] = (0.0, 0.0, 0.0)) -> None:
        """Start at the sums, over all ranks, of the part of the epoch that an earlier run has done."""
        self._ranks = ranks
        self._before = torch.tensor(before, dtype=torch.float64, device=ranks.device)
        self._sums = torch.zeros_like(self._before)
        self._tally: torch.Tensor | None = None

    def add(self, sums: Sums) -> None:
        """Add a batch."""
        self._sums[0] += sums.loss
        self._sums[1] += sums.score
        self._sums[2] += sums.count
        if sums.tally is not None:
            self._tally = sums.tally if self._tally is None else self._tally + sums.tally

    def all_ranks(self) -> list[float]:
        """Loss, score and samples of the epoch over all ranks; call it on every rank."""
        totals: list[float] = (self._before + self._ranks.sum(self._sums.clone())).tolist()
        return totals

    def seen(self) -> float:
        """Samples of this run over all ranks; call it on every rank."""
        return float(self._ranks.sum(self._sums[2].clone()))

    def total(self, task: Task) -> dict[str, float]:
        """Metrics over all ranks; call it on every rank."""
        loss, score, count = self.all_ranks()
        tally = None if self._tally is None else self._ranks.sum(self._tally.clone())
        return task.metrics(loss / count, score / count, tally)
