"""What the watchdog costs: a heartbeat a step in the rank, a look a second in the parent.

    python benchmarks/train/watch_cost.py

Two calls of heartbeat.py are timed alone, and set against a whole step of the smallest model that one would train: a
difference of runs with and without them drowns in noise. The parent's look is CPU time, of heartbeats and memory.
"""

import platform
import statistics
import tempfile
import time
from pathlib import Path

import torch
from twofold.contract import machine
from twofold.models.table import build
from twofold.train.hang import HangWatch
from twofold.train.heartbeat import Heartbeat
from twofold.train.host_memory import MemoryWatch

BEATS, STEPS, LOOKS, REPEATS = 200_000, 2_000, 200, 5
RANKS = 8


def beat_s(folder: Path) -> float:
    """Seconds that a rank spends for the watchdog in a step."""
    heart = Heartbeat(folder, 0)
    started = time.perf_counter()
    for step in range(BEATS):
        heart.ready()
        heart.beat(step)
    return (time.perf_counter() - started) / BEATS


def step_s() -> float:
    """Seconds of a bare step of a linear model of 16 features on 64 rows, which does all that training is."""
    torch.set_num_threads(1)
    model = build("linear", {"features": 16, "outputs": 2})
    optimizer = torch.optim.AdamW(model.parameters())
    rows, labels = torch.randn(64, 16), torch.randint(2, (64,))
    started = time.perf_counter()
    for _ in range(STEPS):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(rows), labels).backward()
        optimizer.step()
    return (time.perf_counter() - started) / STEPS


def look_s(folder: Path) -> float:
    """Seconds of CPU that the parent spends in a second, with eight ranks."""
    for rank in range(RANKS):
        Heartbeat(folder, rank)
    hang, memory = HangWatch(folder, timeout_s=60.0, hosts=1), MemoryWatch(machine.CGROUP)
    started = time.process_time()
    for _ in range(LOOKS):
        memory.look()
        hang()
    return (time.process_time() - started) / LOOKS


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        beat = statistics.median(beat_s(folder) for _ in range(REPEATS))
        step = statistics.median(step_s() for _ in range(REPEATS))
        look = statistics.median(look_s(folder) for _ in range(REPEATS))
    print(f"Python {platform.python_version()}, torch {torch.__version__}, {machine.cpus()} CPUs")
    print(f"heartbeat         {beat * 1e6:8.2f} us a step")
    print(f"smallest step     {step * 1e6:8.2f} us (linear, 16 features, batch 64, 1 thread, nothing but the step)")
    print(f"share of a step   {beat / step:8.3%}")
    print(f"parent's look     {look * 1e3:8.2f} ms of CPU a second, {RANKS} ranks")


if __name__ == "__main__":
    main()
