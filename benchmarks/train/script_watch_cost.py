"""What the watch of scripts costs: CPU of the parent a minute, and of the stacks that it takes of what is idle.

    python benchmarks/train/script_watch_cost.py

Ranks are processes of `script_rank` with a script that has imported torch and four children that wait, as loaders have.
The look at the clock, once a second, and the whole look, every ten seconds, are timed alone and added up for a minute.
"""

import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from twofold.contract import machine
from twofold.train import activity
from twofold.train.pulse import read_pulses
from twofold.train.script_hang import ScriptWatch
from twofold.train.stacks import take

SCRIPT = """
import subprocess, sys, time
import torch
children = [subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) for _ in range(4)]
print("ready", flush=True)
time.sleep(1000)
"""
LOOKS, REPEATS = 20, 5
WINDOW_S = 10
"""Seconds between whole looks by default."""


@contextmanager
def ranks(count: int, folder: Path) -> Iterator[Path]:
    """Run so many ranks; hand out their scratch folder."""
    (folder / "train.py").write_text(SCRIPT)
    command = [sys.executable, "-P", "-m", "twofold.train.script_rank", str(folder), sys.executable, "train.py"]
    started = []
    for rank in range(count):
        environ = {**os.environ, "TWOFOLD_SCRATCH": str(folder), "RANK": str(rank), "WORLD_SIZE": str(count)}
        started.append(subprocess.Popen(command, env=environ, stdout=subprocess.PIPE))
    try:
        for process in started:
            process.stdout.readline()
        yield folder
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.communicate()


def look_s(watch: ScriptWatch, *, whole: bool) -> float:
    """Seconds of CPU of one look."""
    started = time.process_time()
    for _ in range(LOOKS):
        watch._next = 0.0 if whole else time.monotonic() + 1000  # noqa: SLF001 - the clock of whole looks
        watch()
    return (time.process_time() - started) / LOOKS


def stack_s(pid: int, folder: Path) -> tuple[float, float]:
    """Seconds of CPU, and of time, that the stack of one rank takes."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    if not take(pid, folder / "none").main:
        raise RuntimeError("py-spy cannot read the stack")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    print(f"Python {platform.python_version()}, torch {torch.__version__}, {machine.cpus()} CPUs")
    print("ranks  processes  look  whole look  a minute of the parent  stack of a rank")
    for count in (2, 8):
        with tempfile.TemporaryDirectory() as directory, ranks(count, Path(directory)) as folder:
            watch = ScriptWatch(folder, timeout_s=None, hosts=1, gpus_work=lambda: False)
            light = statistics.median(look_s(watch, whole=False) for _ in range(REPEATS))
            whole = statistics.median(look_s(watch, whole=True) for _ in range(REPEATS))
            minute = light * (60 - 60 / WINDOW_S) + whole * 60 / WINDOW_S
            stacks = [stack_s(pulse.pid, folder) for pulse in read_pulses(folder).values()]
            cpu, wall = (statistics.median(column) for column in zip(*stacks, strict=True))
            print(
                f"{count:5}  {len(activity.processes()):9}  {light * 1e6:.1f} us  {whole * 1e3:.2f} ms  "
                f"{minute * 1e3:.1f} ms ({minute / 60:.4%} of a core)  {cpu * 1e3:.0f} ms CPU, {wall * 1e3:.0f} ms"
            )


if __name__ == "__main__":
    main()
