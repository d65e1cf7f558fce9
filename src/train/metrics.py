"""Running sums of an epoch, metric lines for tuning, and the history that plots are made of."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from ..contract.logs import metric_line
from .parallel import Sums
from .ranks import Ranks
from .tasks import Task

log = logging.getLogger(__name__)

HISTORY = "metrics.jsonl"
"""File in the output data folder: one JSON object an epoch."""


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


def publish(metrics: Mapping[str, float], *, epoch: int, step: int, samples_per_s: float) -> None:
    """Log one line with everything that a metric definition may look for."""
    log.info("epoch=%d step=%d %s samples_per_second=%.0f", epoch, step, metric_line(metrics), samples_per_s)


def start_history(folder: Path, step: int) -> None:
    """Forget what an earlier run in the same folder recorded after the step that this one goes on from."""
    path = folder / HISTORY
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(line for line in lines if json.loads(line)["step"] <= step), encoding="utf-8")


def append_history(folder: Path, metrics: Mapping[str, float], *, epoch: int, step: int, seconds: float) -> None:
    """Add an epoch to the history file."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {"epoch": epoch, "step": step, "seconds": round(seconds, 3), **metrics}
    with (folder / HISTORY).open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
