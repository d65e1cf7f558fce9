"""Steps a second of `train` against a loop written by hand, bare and with Fabric and Accelerate.

    python benchmarks/train/loop.py [--case mlp] [--processes 1] [--peers PYTHON] [--repeat 3] [--first]
        [--samples N]

All train the same model on the same data with batches of the same size, in turn, on the same cores; `train` runs as a
job with everything that a job has: the stream from files, metrics, records, TensorBoard, the watchdog. Numbers are of
the median epoch but the first; of several repeats the median. --peers names a Python that has lightning-fabric and
accelerate beside this one's packages. --first measures seconds from the start of the command to the end of its first
step instead. --samples makes the epochs of another length: what `train` does once an epoch takes about 10 ms, which is
8% of the epochs of `mlp`.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Case:
    """A model, its data, and how long it is trained."""

    model: str
    settings: dict[str, object]
    """Hyperparameters of `train`."""
    arguments: dict[str, object]
    """The same as arguments of the model."""
    shape: tuple[int, ...]
    samples: int
    batch_size: int
    epochs: int


CASES = {
    "mlp": Case(
        "mlp", {"hidden": [256, 256]}, {"features": 64, "hidden": [256, 256], "outputs": 10}, (64,), 12_800, 64, 5
    ),
    "mlp-wide": Case(
        *("mlp", {"hidden": [1024, 1024]}, {"features": 256, "hidden": [1024, 1024], "outputs": 10}),
        *((256,), 12_800, 256, 4),
    ),
    "resnet": Case(
        *("resnet", {"filters": 16}, {"height": 32, "width": 32, "outputs": 10, "filters": 16}),
        *((3, 32, 32), 640, 64, 4),
    ),
}


def write_data(case: Case, folder: Path) -> None:
    """Write the same samples as a channel and, for loops by hand, as arrays."""
    random = np.random.default_rng(0)
    labels = np.arange(case.samples) % 10
    channel = folder / "ml" / "input" / "data" / "training"
    channel.mkdir(parents=True)
    if case.model == "resnet":
        rows = random.integers(0, 256, (case.samples, *case.shape), dtype=np.uint8)
        np.savez(channel / "data.npz", image=rows.transpose(0, 2, 3, 1), label=labels)
    else:
        rows = random.standard_normal((case.samples, *case.shape)).astype(np.float32)
        np.save(channel / "data.npy", np.column_stack([labels, rows]).astype(np.float32))
    np.savez(folder / "bare.npz", rows=rows, labels=labels)


def ours(case: Case, folder: Path, processes: int, *, first: bool = False) -> float:
    """Run `train` and read the records of its run: steps a second, or seconds to the end of the first step."""
    base = folder / "ml"
    (base / "input" / "config").mkdir(exist_ok=True)
    settings = case.settings | {"model": case.model, "epochs": case.epochs, "batch_size": case.batch_size}
    settings |= {"task": "classification", "export_onnx": False, "processes_per_host": processes}
    texts = {name: json.dumps(value) for name, value in (settings | ({"max_steps": 1} if first else {})).items()}
    (base / "input" / "config" / "hyperparameters.json").write_text(json.dumps(texts), encoding="utf-8")
    output = base / "output" / "data"
    (output / "steps.jsonl").unlink(missing_ok=True)
    started = time.time()
    with (folder / "ours.log").open("wb") as log:
        job = subprocess.Popen(
            [sys.executable, "-P", "-m", "twofold.train"],
            env={**os.environ, "SAGEMAKER_BASE_DIR": str(base), "OMP_NUM_THREADS": str(threads(processes))},
            stdout=log,
            stderr=log,
        )
        if job.wait(600):
            raise SystemExit((folder / "ours.log").read_text(encoding="utf-8")[-3000:])
    if first:
        return (output / "steps.jsonl").stat().st_mtime - started
    history = (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return rate(case, [json.loads(line)["seconds"] for line in history])


def by_hand(kind: str, case: Case, folder: Path, processes: int, python: str, *, first: bool = False) -> float:
    """Run bare.py and read what it prints: steps a second, or seconds to the end of the first step."""
    described = {"model": case.model, "arguments": case.arguments, "batch_size": case.batch_size}
    described |= {"epochs": 1 if first else case.epochs, "bare_data": str(folder / "bare.npz")}
    (folder / "case.json").write_text(json.dumps(described), encoding="utf-8")
    launcher = [python]
    if processes > 1:
        launcher = [python, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    started = time.time()
    done = subprocess.run(
        [*launcher, str(HERE / "bare.py"), kind, str(folder / "case.json")],
        env={**os.environ, "OMP_NUM_THREADS": str(threads(processes)), "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise SystemExit(done.stderr[-3000:])
    found = json.loads(lines[-1])
    return found["first_step"] - started if first else rate(case, found["seconds"])


def threads(processes: int) -> int:
    """Threads of each process, as `train` gives them."""
    return max(1, len(os.sched_getaffinity(0)) // processes)


def rate(case: Case, seconds: list[float]) -> float:
    """Steps a second in the median epoch but the first."""
    return -(-case.samples // case.batch_size) / statistics.median(seconds[1:] or seconds)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, action="append", dest="cases")
    parser.add_argument("--processes", type=int, choices=(1, 2), action="append")
    parser.add_argument("--peers", help="a Python with lightning-fabric and accelerate")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--first", action="store_true", help="measure the time to the first step")
    parser.add_argument("--samples", type=int, help="samples of an epoch (default: as the case has them)")
    options = parser.parse_args()
    print(
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}"
    )
    what = "seconds to the first step" if options.first else "steps/s"
    print(f"\n| case | processes | loop | {what} | of bare |\n|---|--:|---|--:|--:|")
    for name in options.cases or CASES:
        case = replace(CASES[name], samples=options.samples or CASES[name].samples)
        with tempfile.TemporaryDirectory() as scratch:
            write_data(case, Path(scratch))
            for processes in options.processes or (1, 2):
                table = measure(case, Path(scratch), processes, options.peers, options.repeat, first=options.first)
                for loop, (middle, ratio) in table.items():
                    print(f"| {name} | {processes} | {loop} | {middle:.2f} | {ratio:.3f} |", flush=True)


def measure(
    case: Case, folder: Path, processes: int, peers: str | None, repeat: int, *, first: bool
) -> dict[str, tuple[float, float]]:
    """Run all loops in turn, so many times; return the median of each and its ratio to the bare loop's."""
    found: dict[str, list[float]] = {}
    for _ in range(repeat):
        found.setdefault("bare", []).append(by_hand("bare", case, folder, processes, sys.executable, first=first))
        found.setdefault("train", []).append(ours(case, folder, processes, first=first))
        for kind in ("fabric", "accelerate") if peers else ():
            found.setdefault(kind, []).append(by_hand(kind, case, folder, processes, str(peers), first=first))
    bare = statistics.median(found["bare"])
    return {loop: (statistics.median(values), statistics.median(values) / bare) for loop, values in found.items()}


if __name__ == "__main__":
    main()
