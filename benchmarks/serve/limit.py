"""How fast the engines are without a server: rows/s of one process a core, and milliseconds of CPU a row.

    python benchmarks/serve/limit.py FOLDER [--nets cnn,encoder] [--seconds 2]

FOLDER is what artifact.py wrote. Every batch size is tried on all cores at once; the best one counts.
"""

import argparse
import multiprocessing
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from twofold.serve.engine import EngineSettings
from twofold.serve.model import load

ENGINES = {"eager": "pytorch", "ours": "onnx"}
SIZES = (1, 4, 16, 64)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nets", default="mlp,cnn,encoder")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--realtime", action="store_true", help="let nothing else interrupt them; for root")
    options = parser.parse_args()
    if options.realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
    print("| model | engine |", " | ".join(f"{size} rows" for size in SIZES), "|\n|---|---|" + "--:|" * len(SIZES))
    for net in options.nets.split(","):
        for name, engine in ENGINES.items():
            found = [rate(options.folder / net, engine, size, options.seconds) for size in SIZES]
            print(
                f"| {net} | {name} |",
                " | ".join(f"{value:,.0f} ({spent:.3f})" for value, spent in found),
                "|",
                flush=True,
            )


def rate(folder: Path, engine: str, size: int, seconds: float) -> tuple[float, float]:
    """Rows/s of all cores together, and milliseconds of CPU of each row."""
    context = multiprocessing.get_context("spawn")
    cores = os.cpu_count() or 1
    barrier, pipes = context.Barrier(cores), []
    for _ in range(cores):
        mine, other = context.Pipe()
        shared = {"barrier": barrier, "result": other}
        context.Process(target=work, args=(folder, engine, size, seconds), kwargs=shared, daemon=True).start()
        pipes.append(mine)
    found = [pipe.recv() for pipe in pipes]
    return sum(each for each, _ in found), sum(spent for _, spent in found) / cores


def work(folder: Path, engine: str, size: int, seconds: float, *, barrier: object, result: Connection) -> None:
    """Run a model in a process of its own."""
    model = load(folder / "model", EngineSettings(engine=engine))  # type: ignore[arg-type]
    rows = np.load(folder / "rows.npz")["rows"]
    batch = rows[np.arange(size) % len(rows)]
    model.predict(batch)
    barrier.wait()  # type: ignore[attr-defined]
    done, start, spent = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        model.predict(batch)
        done += size
    result.send((done / (time.perf_counter() - start), 1000 * (time.process_time() - spent) / done))


if __name__ == "__main__":
    main()
