"""What a run says of itself while it runs: lines in the log, records in output data, TensorBoard, a bar.

    batches ── each step ──┬── up to 200 times a run    steps.jsonl, TensorBoard
                           ├── once a minute            a line in the log
                           └── on a terminal            the bar
    metrics ── each epoch ─┴──────────────────────────  a line in the log, metrics.jsonl, TensorBoard

Only the first rank records; on the others every call is nothing.
"""

import logging
import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch

from ..contract.logs import metric_line
from ..contract.metrics import DATA_WAIT, GPU_MEMORY, RUNNING_LOSS, SECONDS_LEFT, SPEED
from . import history
from .bar import Bar
from .board import Board
from .parallel import Sums
from .ranks import Ranks
from .samples import Batch

log = logging.getLogger("twofold.train.metrics")

RECORDS = 200
"""Records of single steps in a whole run, at most."""
RECORD_EVERY_S = 0.25
"""Shortest time between two of them: one takes as long as a small step."""
LINE_EVERY_S = 60.0
"""Time between lines of the log while an epoch runs."""


class Recorder:
    """Records one run; the first rank's does, any other's stays silent."""

    def __init__(self, ranks: Ranks, output_data: Path, board: Path, *, with_bar: bool = False) -> None:
        """Take the folders of records and of TensorBoard; nothing is written before `start`."""
        self._ranks, self._folder = ranks, output_data
        self._board = Board(board)
        self._bar = Bar() if with_bar and ranks.is_first and sys.stdout.isatty() else None
        self._total = self._every = 1
        self._began_at = 0

    def start(self, step: int, total: int) -> None:
        """Begin at a step, 0 or the one that is resumed from, of so many in all."""
        self._total, self._began_at = total, step
        self._every = max(total // RECORDS, 1)
        self._began = self._last_line = time.monotonic()
        self._last_record = -math.inf
        self._mark()
        if self._ranks.is_first:
            history.start(self._folder, step)
            self._board.start(step)

    def _mark(self) -> None:
        """Begin to measure anew."""
        self._marked = time.monotonic()
        self._waited = 0.0
        self._samples = 0

    def epoch(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Hand batches through, and measure how long they are waited for."""
        self._mark()
        self._epoch_began, self._epoch_waited = self._marked, 0.0
        source = iter(batches)
        while True:
            asked = time.monotonic()
            batch = next(source, None)
            waited = time.monotonic() - asked
            self._waited += waited
            self._epoch_waited += waited
            if batch is None:
                return
            self._samples += batch.global_count
            yield batch

    def step(self, step: int, epoch: int, sums: Sums) -> None:
        """Take note of a step that is done."""
        if not self._ranks.is_first:
            return
        if self._bar:
            self._bar.show(step, self._total, epoch)
        now = time.monotonic()
        line = now >= self._last_line + LINE_EVERY_S
        record = step % self._every == 0 and now >= self._last_record + RECORD_EVERY_S
        if not (record or line) or not sums.count:
            return
        loss = float(sums.loss) / sums.count
        if not math.isfinite(loss):
            return  # the end of the epoch says what to do about it
        seconds = max(now - self._marked, 1e-9)
        values = {
            RUNNING_LOSS: loss,
            SPEED: self._samples / seconds,
            DATA_WAIT: self._waited / seconds,
        }
        if record:
            self._last_record = now
            history.append(self._folder, history.STEPS, {"step": step, **_rounded(values)})
            self._board.add(values, step)
        if line:
            self._last_line = now
            log.info("epoch=%d step=%d/%d %s", epoch, step, self._total, metric_line(values | self._left(step)))
        self._mark()

    def close_epoch(
        self, metrics: Mapping[str, float], *, epoch: int, step: int, seconds: float, samples: float
    ) -> None:
        """Publish an epoch's metrics.

        Args:
            metrics: by name.
            epoch: its number, from 1.
            step: steps done.
            seconds: how long it took, without its evaluation.
            samples: how many samples it had over all ranks.
        """
        if not self._ranks.is_first:
            return
        run = {SPEED: samples / max(seconds, 1e-9), DATA_WAIT: min(self._epoch_waited / max(seconds, 1e-9), 1.0)}
        run |= gpu_memory(self._ranks.device)
        self._last_line = time.monotonic()
        log.info("epoch=%d step=%d %s", epoch, step, metric_line({**metrics, **run, **self._left(step)}))
        record = {"epoch": epoch, "step": step, "seconds": round(seconds, 3), **metrics, **_rounded(run)}
        history.append(self._folder, history.HISTORY, record)
        self._board.add({**metrics, **run}, step)

    def close(self) -> None:
        """End what shows or writes."""
        if self._bar:
            self._bar.close()
        self._board.close()

    def _left(self, step: int) -> dict[str, float]:
        done = step - self._began_at
        if done <= 0:
            return {}
        return {SECONDS_LEFT: round((time.monotonic() - self._began) / done * (self._total - step), 1)}


def gpu_memory(device: torch.device) -> dict[str, float]:
    """Most memory that tensors have held on this rank's GPU, in GiB; nothing on a CPU."""
    if device.type != "cuda":
        return {}
    return {GPU_MEMORY: torch.cuda.max_memory_allocated(device) / 2**30}


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.6g}") for name, value in values.items()}
