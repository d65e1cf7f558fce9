"""How long the verbs take to start, beside `python -c "import torch"` on the same machine in the same run.

    python benchmarks/startup.py [--repeat 5] [--only serve]

Prints a Markdown table; results are kept in `benchmarks/results/`, dated, with hardware, versions and command.
"""

import argparse
import contextlib
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
sys.path.insert(0, str(ROOT / "examples" / "digits"))
import digits  # noqa: E402 - the demo's data, which is no package


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5, help="runs of each, of which the median counts")
    parser.add_argument("--only", default="", help="only what begins with this, beside the import, after one training")
    options = parser.parse_args()
    repeat = options.repeat
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        with contextlib.redirect_stdout(sys.stderr):
            digits.write_channels(base / "input" / "data")
        rows = {
            "python -c 'import torch'": lambda: timed([sys.executable, "-c", "import torch"]),
            "train: to the first line of its log": lambda: train(base, processes=1)[0],
            "train, 1 process: to the first epoch's metrics": lambda: train(base, processes=1)[1],
            "train, 2 processes: to the first epoch's metrics": lambda: train(base, processes=2)[1],
            "serve, a verified ONNX program: to the first 200 of /ping": lambda: serve(base, "onnx"),
            "serve, PyTorch: to the first 200 of /ping": lambda: serve(base, "pytorch"),
        }
        if options.only:
            train(base, processes=1)
            rows = {name: run for name, run in rows.items() if name.startswith(("python", options.only))}
        report({name: statistics.median(measure() for _ in range(repeat)) for name, measure in rows.items()}, repeat)


def report(seconds: dict[str, float], repeat: int) -> None:
    """Print the table."""
    unit = next(iter(seconds.values()))
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, torch {version('torch')}")
    print(f"median of {repeat}; page cache warm\n")
    print("| what | seconds | x import torch |\n|---|--:|--:|")
    for name, value in seconds.items():
        print(f"| {name} | {value:.2f} | {value / unit:.2f} |")


def timed(argv: list[str]) -> float:
    """Seconds of a command."""
    started = time.perf_counter()
    subprocess.run(argv, check=True)
    return time.perf_counter() - started


def train(base: Path, *, processes: int) -> tuple[float, float]:
    """Seconds to the first line of the log and to the first metrics."""
    (base / "input" / "config").mkdir(exist_ok=True)
    parameters = {"epochs": "1", "processes_per_host": str(processes)}
    (base / "input" / "config" / "hyperparameters.json").write_text(json.dumps(parameters))
    started = time.perf_counter()
    first = metrics = 0.0
    environ = {**os.environ, "SAGEMAKER_BASE_DIR": str(base)}
    with subprocess.Popen([BIN / "train"], env=environ, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            first = first or time.perf_counter() - started
            if "train:loss=" in line:
                metrics = metrics or time.perf_counter() - started
    if process.returncode:
        sys.exit(f"train ended with exit code {process.returncode}")
    return first, metrics


def serve(base: Path, engine: str) -> float:
    """Seconds to the first 200."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {**os.environ, "SAGEMAKER_BASE_DIR": str(base), "SAGEMAKER_BIND_TO_PORT": str(port)}
    environ["TWOFOLD_ENGINE"] = engine
    started = time.perf_counter()
    process = subprocess.Popen([BIN / "serve"], env=environ, stdout=subprocess.DEVNULL)
    try:
        return wait(lambda: healthy(port), process) - started
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def wait(condition: Callable[[], bool], process: "subprocess.Popen[bytes]") -> float:
    """Poll a condition while a process lives, and tell when it came true."""
    while not condition():
        if process.poll() is not None:
            sys.exit(f"serve ended with exit code {process.returncode}")
        time.sleep(0.005)
    return time.perf_counter()


def healthy(port: int) -> bool:
    """Whether /ping answers 200."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2) as response:
            return response.status == 200
    except (urllib.error.URLError, ConnectionError):
        return False


if __name__ == "__main__":
    main()
