"""Running sums of an epoch, metric lines for tuning, and the history that plots are made of."""

import json
import logging
from collections.abc import Mapping
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

    def __init__(self, ranks: Ranks) -> None:
        """Start at zero."""
        self._ranks = ranks
        self.sums = torch.zeros(3, dtype=torch.float64, device=ranks.device)

    def add(self, sums: Sums) -> None:
        """Add a batch."""
        self.sums[0] += sums.loss
        self.sums[1] += sums.score
        self.sums[2] += sums.count

    def total(self, task: Task) -> dict[str, float]:
        """Metrics over all ranks; call it on every rank."""
        loss, score, count = self._ranks.sum(self.sums.clone()).tolist()
        return task.metrics(loss / count, score / count)


def publish(metrics: Mapping[str, float], *, epoch: int, step: int, samples_per_s: float) -> None:
    """Log one line with everything that a metric definition may look for."""
    log.info("epoch=%d step=%d %s samples_per_second=%.0f", epoch, step, metric_line(metrics), samples_per_s)


def start_history(folder: Path) -> None:
    """Forget the epochs of an earlier run in the same folder."""
    (folder / HISTORY).unlink(missing_ok=True)


def append_history(folder: Path, metrics: Mapping[str, float], *, epoch: int, step: int, seconds: float) -> None:
    """Add an epoch to the history file."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {"epoch": epoch, "step": step, "seconds": round(seconds, 3), **metrics}
    with (folder / HISTORY).open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
