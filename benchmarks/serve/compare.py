"""Ours and the peers in turn, on the same machine, with the same model, rows and checks.

    python benchmarks/serve/compare.py FOLDER --peer flask=PYTHON --peer fastapi=PYTHON --peer litserve=PYTHON

FOLDER is what artifact.py wrote; PYTHON is the interpreter of the peer's own environment. Prints a Markdown table.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
CLIENTS = (1, 8, 32, 64)


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(name: str, python: str, folder: Path, port: int) -> subprocess.Popen[bytes]:
    """Start a server and wait for its first 200."""
    environ = {**os.environ, "SAGEMAKER_BASE_DIR": str(folder), "SAGEMAKER_BIND_TO_PORT": str(port)}
    if name == "ours":
        command = [python, "-m", "twofold.serve"]
    else:
        command = [python, str(HERE / "peers.py"), name, str(port), str(folder / "weights.pt")]
    server = subprocess.Popen(
        command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2) as answer:
                if answer.status == 200:
                    return server
        except OSError:
            time.sleep(0.1)
    message = f"{name} does not start"
    raise RuntimeError(message)


def load(port: int, clients: int, kind: str, folder: Path, seconds: float) -> dict[str, float]:
    """Run the load in a process of its own."""
    command = [sys.executable, str(HERE / "load.py"), "--port", str(port), "--clients", str(clients)]
    command += ["--format", kind, "--seconds", str(seconds), "--rows", str(folder / "rows.npz")]
    done = subprocess.run(command, capture_output=True, check=True)
    return dict(json.loads(done.stdout))


def main() -> None:
    """Measure every cell `--rounds` times, the servers in turn, and print medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peer", action="append", default=[], help="NAME=PYTHON")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    servers = {"ours": sys.executable, **dict(peer.split("=", 1) for peer in options.peer)}
    found: dict[tuple[str, int, str], list[dict[str, float]]] = {}
    for _ in range(options.rounds):
        for name, python in servers.items():
            port = free_port()
            server = start(name, python, options.folder, port)
            try:
                for kind in ("json",) if name == "litserve" else ("json", "npy"):
                    for clients in CLIENTS:
                        cell = load(port, clients, kind, options.folder, options.seconds)
                        found.setdefault((kind, clients, name), []).append(cell)
            finally:
                server.terminate()
                server.wait(40)
                # Some leave workers behind, which would be measured with whoever comes next.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(server.pid, signal.SIGKILL)
    print("| body | clients |", " | ".join(f"{name}, requests/s (p50, p99 ms)" for name in servers), "|")
    print("|---|--:|", "--:|" * len(servers), sep="")
    for kind in ("json", "npy"):
        for clients in CLIENTS:
            cells = []
            for name in servers:
                runs = found.get((kind, clients, name))
                if not runs:
                    cells.append("-")
                    continue
                rate, p50, p99 = (statistics.median(run[key] for run in runs) for key in ("rate", "p50_ms", "p99_ms"))
                cells.append(f"{rate:,.0f} ({p50:.2f}, {p99:.1f})")
            print(f"| {kind} | {clients} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
