"""How much memory a server takes with one worker and with two, and what one more model of a multi-model endpoint takes.

    python benchmarks/serve_memory.py MODEL_BASE...        each a folder with `model/` in it, an artifact of `train`

Proportional set size (each shared page divided by those who share it) summed over all processes of the server, after
every worker has answered; prints a Markdown table for `benchmarks/results/`.
"""

import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Self

BIN = Path(sys.executable).parent
_REQUESTS = 200
_MODELS = 20


def main() -> None:
    """Measure and print."""
    print(f"{platform.machine()}, Python {platform.python_version()}, onnxruntime {version('onnxruntime')}\n")
    print("| artifact | weights MB | engine | 1 worker MB | 2 workers MB | ratio |\n|---|--:|---|--:|--:|--:|")
    for base in map(Path, sys.argv[1:]):
        size = (base / "model" / "weights.safetensors").stat().st_size / 1e6
        for engine in ("onnx", "pytorch"):
            one, two = (serve(base, workers, engine) for workers in ("1", "2"))
            print(f"| {base.name} | {size:.1f} | {engine} | {one:.1f} | {two:.1f} | {two / one:.2f} |", flush=True)
    print("\n| many models | MB without any | MB for each of 20 | seconds to load one |\n|---|--:|--:|--:|")
    for base in map(Path, sys.argv[1:]):
        print(f"| {base.name} | {' | '.join(f'{value:.2f}' for value in many(base))} |", flush=True)


class Server:
    """A server on a port of its own, for as long as the block lasts."""

    def __init__(self, base: Path, **environ: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.environ = {"SAGEMAKER_BASE_DIR": str(base), "SAGEMAKER_BIND_TO_PORT": str(self.port), **environ}

    def __enter__(self) -> Self:
        environ = {**os.environ, **self.environ}
        self.process = subprocess.Popen([BIN / "serve"], env=environ, stdout=subprocess.DEVNULL)
        end = time.monotonic() + 120
        while not self._healthy():
            if self.process.poll() is not None or time.monotonic() > end:
                sys.exit("serve does not answer")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def call(self, path: str, body: bytes | None = None, method: str = "POST") -> bytes:
        """Send a request, with JSON if it has a body."""
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=120) as response:
            answer: bytes = response.read()
            return answer

    def megabytes(self) -> float:
        """Sum over all processes."""
        return sum(map(proportional, [self.process.pid, *below(self.process.pid)])) / 1e6

    def _healthy(self) -> bool:
        try:
            self.call("/ping", method="GET")
        except (urllib.error.URLError, ConnectionError):
            return False
        return True


def serve(base: Path, workers: str, engine: str) -> float:
    """Megabytes of a server whose workers have all answered."""
    body = row_of(base)
    with Server(base, SAGEMAKER_MODEL_SERVER_WORKERS=workers, TWOFOLD_ENGINE=engine) as server:
        for _ in range(_REQUESTS):
            server.call("/invocations", body)
        return server.megabytes()


def many(base: Path) -> tuple[float, float, float]:
    """Megabytes of a multi-model endpoint without models, for each model, and seconds to load one."""
    body = row_of(base)
    with tempfile.TemporaryDirectory() as empty, Server(Path(empty), SAGEMAKER_MULTI_MODEL="true") as server:
        load(server, base, "first")
        server.call("/models/first", method="DELETE")
        before, started = server.megabytes(), time.perf_counter()
        for number in range(_MODELS):
            load(server, base, str(number))
        seconds = (time.perf_counter() - started) / _MODELS
        for number in range(_MODELS):
            server.call(f"/models/{number}/invoke", body)
        return before, (server.megabytes() - before) / _MODELS, seconds


def load(server: Server, base: Path, name: str) -> None:
    """Load a model."""
    server.call("/models", json.dumps({"model_name": name, "url": str(base / "model")}).encode())


def row_of(base: Path) -> bytes:
    """One row of zeros that the model takes."""
    values: object = 0
    for size in reversed(json.loads((base / "model" / "twofold.json").read_text())["input"]["shape"]):
        values = [values] * size
    return json.dumps([values]).encode()


def below(process: int) -> Iterator[int]:
    """All processes that a process has started, theirs too."""
    for thread in Path(f"/proc/{process}/task").iterdir():
        for child in map(int, (thread / "children").read_text().split()):
            yield child
            yield from below(child)


def proportional(process: int) -> int:
    """Bytes of one process."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024


if __name__ == "__main__":
    main()
