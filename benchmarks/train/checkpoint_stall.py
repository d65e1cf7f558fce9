"""How much a checkpoint of 500 MB delays the steps while it is written: asynchronous, waited for, and torch's own.

    python benchmarks/train/checkpoint_stall.py [--threads 1] [--rows 256] [--folder /tmp] [--saves 5]

Prints a Markdown table; results are kept in `benchmarks/results/`, dated, with hardware, versions and command.
"""

import argparse
import os
import platform
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from torch.distributed import checkpoint as dcp
from twofold.train.checkpoint import Checkpoints, Progress
from twofold.train.checkpoint_state import State
from twofold.train.config import TrainingConfig
from twofold.train.optim import build_optimizer
from twofold.train.ranks import Ranks

WIDTH, LAYERS = 2888, 5
"""Weights and two moments of five layers are 500 MB."""
MOST_STEPS = 60


class Training:
    """A model, an optimizer, and steps that are timed."""

    def __init__(self, rows: int) -> None:
        torch.manual_seed(0)
        self.module = nn.Sequential(*[nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS)])
        self.state = State(self.module, build_optimizer(self.module, TrainingConfig()), best={})
        self.rows = torch.randn(rows, WIDTH)

    def step(self, before_update: Callable[[], None] = lambda: None) -> None:
        """Take one step; `before_update` is what a checkpoint must wait for."""
        self.state.optimizer.zero_grad()
        self.module(self.rows).square().mean().backward()
        before_update()
        self.state.optimizer.step()

    def timed(self, steps: int) -> list[float]:
        """Seconds of each of some steps without a checkpoint."""
        return [_seconds(self.step) for _ in range(steps)]


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class Ours:
    """Checkpoints as the training loop calls them."""

    def __init__(self, training: Training, folder: Path, *, wait: bool) -> None:
        self.training, self.wait, self.number = training, wait, 0
        self.checkpoints = Checkpoints(folder, {}, Ranks())
        self.name = "ours, waited for" if wait else "ours"

    def begin(self) -> None:
        """Ask for a checkpoint."""
        self.number += 1
        self.checkpoints.save(Progress(step=self.number), self.training.state)
        if self.wait:
            self.checkpoints.wait()

    def before_update(self) -> None:
        """Wait for the copy."""
        self.checkpoints.staged()

    def is_over(self) -> bool:
        """Whether the disk has it."""
        return self.checkpoints.is_written()


class Torch:
    """torch's asynchronous save in a thread, with its own files."""

    name = "torch dcp.async_save"

    def __init__(self, training: Training, folder: Path) -> None:
        self.training, self.folder, self.future = training, folder, None

    def begin(self) -> None:
        """Ask for a checkpoint."""
        shutil.rmtree(self.folder, ignore_errors=True)
        tensors = self.training.state.tensors(first=True)
        self.future = dcp.async_save(tensors, checkpoint_id=self.folder)

    def before_update(self) -> None:
        """Wait for nothing: all is copied before async_save returns."""

    def is_over(self) -> bool:
        """Whether the disk has it."""
        return self.future.done()


class Save(NamedTuple):
    """Seconds of the steps of a save, of as many steps after it, at least four, and of the save."""

    steps: list[float]
    plain: list[float]
    seconds: float


def save_once(training: Training, way: Ours | Torch) -> tuple[list[float], float]:
    """Seconds of the steps from the one that the checkpoint begins in to the one that it ends in, and of the save."""
    steps, start = [], time.perf_counter()

    def first() -> None:
        way.begin()
        training.step(way.before_update)

    steps.append(_seconds(first))
    while not way.is_over() and len(steps) < MOST_STEPS:
        steps.append(_seconds(lambda: training.step(way.before_update)))
    return steps, time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=0, help="threads of a step; 0: one a core")
    parser.add_argument("--rows", type=int, default=256, help="samples of a step, which settle how long it takes")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where checkpoints go")
    parser.add_argument("--saves", type=int, default=5, help="checkpoints of each way, of which the median counts")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)
    torch.set_num_threads(arguments.threads or len(os.sched_getaffinity(0)))
    training = Training(arguments.rows)
    training.timed(2)
    size = sum(tensor.nbytes for tensor in training.state.tensors(first=True).values())
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        base = Path(folder)
        ways = [
            Ours(training, base / "a", wait=False),
            Torch(training, base / "b"),
            Ours(training, base / "c", wait=True),
        ]
        found = {way.name: [] for way in ways}
        for way in ways:
            save_once(training, way)
        for _ in range(arguments.saves):
            for way in ways:
                os.sync()
                training.timed(2)
                steps, seconds = save_once(training, way)
                os.sync()
                found[way.name].append(Save(steps, training.timed(max(len(steps), 4)), seconds))
    report(found, size)


def report(found: dict[str, list[Save]], size: int) -> None:
    """Print what was found."""
    cores = len(os.sched_getaffinity(0))
    plain = statistics.median(step for saves in found.values() for save in saves for step in save.plain)
    print(f"{platform.machine()}, {cores} cores, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{size / 1e6:.0f} MB of state; a step takes {plain:.3f} s\n")
    print("| way | longest step | longest of as many without | all steps of a save, later by | steps | save |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, saves in found.items():
        columns = zip(*map(figures, saves), strict=True)
        longest, without, late, count, seconds = (statistics.median(column) for column in columns)
        print(f"| {name} | {longest:+.0%} | {without:+.0%} | {late:.2f} s | {count:g} | {seconds:.1f} s |")


def figures(save: Save) -> tuple[float, float, float, int, float]:
    """Longest step with and without the save, by the median of those without; seconds later; steps; seconds."""
    median, count = statistics.median(save.plain), len(save.steps)
    late = sum(save.steps) - statistics.mean(save.plain) * count
    return max(save.steps) / median - 1, max(save.plain[:count]) / median - 1, late, count, save.seconds


if __name__ == "__main__":
    main()
