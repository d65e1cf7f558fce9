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
        # Apart, and the count on the host: an assignment to an element of a tensor takes three calls, at every step.
        self._loss, self._score = torch.zeros_like(self._before[0]), torch.zeros_like(self._before[0])
        self._count = 0
        self._tally: torch.Tensor | None = None

    def add(self, sums: Sums) -> None:
        """Add a batch."""
        self._loss += sums.loss
        self._score += sums.score
        self._count += sums.count
        if sums.tally is not None:
            self._tally = sums.tally if self._tally is None else self._tally + sums.tally

    def all_ranks(self) -> list[float]:
        """Loss, score and samples of the epoch over all ranks; call it on every rank."""
        count = torch.full_like(self._loss, self._count)
        totals: list[float] = (self._before + self._ranks.sum(torch.stack([self._loss, self._score, count]))).tolist()
        return totals

    def seen(self) -> float:
        """Samples of this run over all ranks; call it on every rank."""
        return float(self._ranks.sum(torch.full_like(self._loss, self._count)))

    def total(self, task: Task) -> dict[str, float]:
        """Metrics over all ranks; call it on every rank."""
        loss, score, count = self.all_ranks()
        tally = None if self._tally is None else self._ranks.sum(self._tally.clone())
        return task.metrics(loss / count, score / count, tally)
