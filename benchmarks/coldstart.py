"""From `docker run IMAGE serve` to the first 200 of /ping, beside `python -c "import torch"` in the same container.

    python benchmarks/coldstart.py [--image twofold:cpu] [--repeat 5]

Containers have what a serverless endpoint gives: 1 core, 1 GB, a read-only root, no root user, no /dev/shm. The server
is PID 1, as on the platform, and asked from outside at the address of its container. Prints a Markdown table and the
phases that the server logs; results are kept in `benchmarks/results/`, dated, with hardware, versions and command.
"""

import argparse
import http.client
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "examples" / "digits"))
import digits  # noqa: E402 - the demo's data, which is no package

LIMITS = (
    *("--cpus", "1", "--memory", "1g", "--memory-swap", "1g", "--read-only", "--tmpfs", "/tmp"),  # noqa: S108
    *("--user", "65534:65534", "--cap-drop", "ALL", "--ipc", "none"),
)
IMPORT = ("python3", "-c", "import torch, time; print(time.time())")
UNIT = "python -c 'import torch'"
Seconds = tuple[float, float]
"""From `docker run`, and from the first instruction in the container."""


def main() -> None:
    """Measure in turn, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", default="twofold:cpu")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each, of which the median counts")
    asked = parser.parse_args()
    rows: dict[str, list[Seconds]] = {UNIT: []}
    phases: list[str] = []
    with tempfile.TemporaryDirectory(prefix="coldstart-") as name:
        models = {
            "serve, a verified ONNX program": train(asked.image, Path(name) / "onnx", export_onnx="true"),
            "serve, PyTorch": train(asked.image, Path(name) / "pytorch", export_onnx="false"),
        }
        for _ in range(asked.repeat):
            rows[UNIT].append(imported(asked.image))
            for what, model in models.items():
                seconds, log = served(asked.image, model)
                rows.setdefault(what, []).append(seconds)
                phases += [f"{what}: {line}" for line in re.findall(r"Start: (.*)", log)]
    report(rows)
    print("\n" + "\n".join(sorted(phases)))


def report(rows: dict[str, list[Seconds]]) -> None:
    """Print the table of medians."""
    print("| what | s, in the container | x import | s, with `docker run` | x import |\n|---|--:|--:|--:|--:|")
    medians = {name: [statistics.median(column) for column in zip(*runs, strict=True)] for name, runs in rows.items()}
    unit_whole, unit_inside = medians[UNIT]
    for name, (whole, inside) in medians.items():
        print(f"| {name} | {inside:.2f} | {inside / unit_inside:.2f} | {whole:.2f} | {whole / unit_whole:.2f} |")


def train(image: str, base: Path, **parameters: str) -> Path:
    """Train one epoch on the digits in a container, and tell where the model folder is."""
    digits.write_channels(base / "input" / "data")
    (base / "input" / "config").mkdir()
    (base / "input" / "config" / "hyperparameters.json").write_text(json.dumps({"epochs": "1", **parameters}))
    docker("run", "--rm", "--volume", f"{base}:/opt/ml", image, "train")
    return base / "model"


def imported(image: str) -> Seconds:
    """Until torch is imported."""
    began = time.time()
    name = docker("run", "--detach", *LIMITS, image, *IMPORT)
    try:
        docker("wait", name)
        done = float(docker("logs", name))
        return done - began, done - started(name)
    finally:
        docker("rm", "--force", name)


def served(image: str, model: Path) -> tuple[Seconds, str]:
    """Until /ping is 200, and the log."""
    began = time.time()
    name = docker("run", "--detach", *LIMITS, "--volume", f"{model}:/opt/ml/model:ro", image, "serve")
    try:
        address = docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name)
        while not healthy(address):
            if time.time() > began + 60:
                sys.exit(f"/ping is not 200 after 60 s:\n{docker('logs', name)}")
            time.sleep(0.005)
        done = time.time()
        return (done - began, done - started(name)), docker("logs", name)
    finally:
        docker("rm", "--force", name)


def healthy(address: str) -> bool:
    """Whether /ping answers 200."""
    connection = http.client.HTTPConnection(address, 8080, timeout=2)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def started(name: str) -> float:
    """When the container's process began, on the machine's clock."""
    text = docker("inspect", "--format", "{{.State.StartedAt}}", name)
    # Nanoseconds are more than Python's clock knows.
    return datetime.fromisoformat(text[:26] + "+00:00").timestamp()


def docker(*arguments: str) -> str:
    """What a docker command prints to either stream; it must end well."""
    argv = ["docker", *arguments]
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout.strip()


if __name__ == "__main__":
    main()
