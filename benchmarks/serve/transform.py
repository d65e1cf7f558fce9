"""A batch transform of a million rows as the platform sends it, beside the same work without a server.

    python benchmarks/serve/transform.py FOLDER/mlp [--rows 1000000] [--megabytes 6]

FOLDER is what artifact.py wrote. Bodies are whole lines of CSV, 64 columns, of up to 6 MB (MultiRecord), as many at
once as `/execution-parameters` asks for. Without a server: the same decode, check, model and encode, in one process a
core.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
from twofold.formats import csv
from twofold.serve.model import load

DISTINCT = 12
"""Bodies that differ; they are sent in turn."""


def main() -> None:
    """Measure both, print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--megabytes", type=float, default=6)
    options = parser.parse_args()
    made = bodies(int(options.megabytes * (1 << 20)))
    jobs = made * -(-options.rows // sum(body.count(b"\n") for body in made))
    rows = sum(body.count(b"\n") for body in jobs)
    alone = rows / in_process(options.folder, jobs)
    seconds, concurrency = served(options.folder, jobs)
    sizes = f"{len(jobs)} bodies of {len(jobs[0]) / 1e6:.1f} MB, {concurrency} at once"
    print(f"{rows:,} rows in {sizes}, {os.cpu_count()} cores")
    print(f"\n| what | rows/s |\n|---|--:|\n| without a server | {alone:,.0f} |\n| served | {rows / seconds:,.0f} |")
    print(f"\nserved / without a server: {rows / seconds / alone:.2f}")


def bodies(size: int) -> list[bytes]:
    """Bodies of whole lines, of at most so many bytes."""
    random = np.random.default_rng(1)
    found = []
    for _ in range(DISTINCT):
        table = random.normal(size=(size // 300, 64)).round(4)
        text = csv.encode(table.astype(np.float32))
        found.append(text[: text.rfind(b"\n", 0, size) + 1])
    return found


def in_process(folder: Path, jobs: list[bytes]) -> float:
    """Seconds for all bodies, shared by as many processes as there are cores."""
    cores = os.cpu_count() or 1
    context = multiprocessing.get_context("fork")
    start, end = context.Barrier(cores + 1), context.Barrier(cores + 1)
    processes = [
        context.Process(target=work, args=(folder, jobs[number::cores], start, end)) for number in range(cores)
    ]
    for process in processes:
        process.start()
    start.wait()
    began = time.perf_counter()
    end.wait()
    seconds = time.perf_counter() - began
    for process in processes:
        process.join()
    return seconds


def work(folder: Path, jobs: list[bytes], start: "threading.Barrier", end: "threading.Barrier") -> None:
    """Answer bodies in a process of their own."""
    model = load(folder / "model")
    start.wait()
    for body in jobs:
        rows = csv.decode_rows(body, model.row_shape)
        model.check(rows)
        csv.encode(model.predict(rows))
    end.wait()


def served(folder: Path, jobs: list[bytes]) -> tuple[float, int]:
    """Seconds for all bodies, and how many were sent at once."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {**os.environ, "SAGEMAKER_BASE_DIR": str(folder), "SAGEMAKER_BIND_TO_PORT": str(port)}
    server = subprocess.Popen(
        [sys.executable, "-m", "twofold.serve"], env=environ | {"SAGEMAKER_BATCH": "true"}, stdout=subprocess.DEVNULL
    )
    try:
        wait(server, port)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/execution-parameters", timeout=10) as answer:
            concurrency = json.load(answer)["MaxConcurrentTransforms"]
        waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        for body in jobs:
            waiting.put(body)
        threads = [threading.Thread(target=send, args=(port, waiting)) for _ in range(concurrency)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - began, concurrency
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(40)


def wait(server: "subprocess.Popen[bytes]", port: int) -> None:
    """Wait for the first 200."""
    while server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
    sys.exit("serve does not start")


def send(port: int, waiting: "queue.SimpleQueue[bytes]") -> None:
    """Send bodies until there are none; each line must have its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    while True:
        try:
            body = waiting.get_nowait()
        except queue.Empty:
            break
        connection.request("POST", "/invocations", body, {"Content-Type": "text/csv", "Accept": "text/csv"})
        answer = connection.getresponse()
        data = answer.read()
        if answer.status != 200 or data.count(b"\n") != body.count(b"\n"):
            os._exit(1)
    connection.close()


if __name__ == "__main__":
    main()
