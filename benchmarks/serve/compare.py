"""Ours and the peers in turn, on the same machine, with the same models, rows and checks.

    python benchmarks/venvs.py serve --venvs VENVS
    python benchmarks/serve/compare.py FOLDER --venvs VENVS [--nets mlp,cnn] [--servers ours,fastapi] [--report]

FOLDER is what artifact.py wrote. `eager` is ours by PyTorch, as the peers are; `ours` as shipped. Cells are kept in
FOLDER/cells.json, so that a part can be measured again; --report prints the tables of all.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from peers import PEERS, Peer

HERE = Path(__file__).parent
NETS = ("mlp", "cnn", "encoder")
OURS = {"eager": {"TWOFOLD_ENGINE": "pytorch"}, "ours": {}}
START_SECONDS = 90
Cells = dict[str, dict[str, float]]


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--venvs", type=Path, required=True)
    parser.add_argument("--nets", default=",".join(NETS))
    parser.add_argument("--servers", default=",".join([*OURS, *PEERS]))
    parser.add_argument("--formats", default="json,npy")
    parser.add_argument("--clients", default="1,8,32,64")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--realtime", action="store_true", help="let nothing else interrupt them; for root")
    parser.add_argument("--report", action="store_true", help="print what was measured, and measure nothing")
    options = parser.parse_args()
    kept = options.folder / "cells.json"
    cells: Cells = json.loads(kept.read_text()) if kept.is_file() else {}
    if options.report:
        report(cells)
        return
    if options.realtime:
        # Servers and load inherit it. In turns of 0.1 s among themselves, as none of them computes for so long.
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
    for net in options.nets.split(","):
        for name in options.servers.split(","):
            try:
                measure(options, net, name, cells)
            except (RuntimeError, subprocess.CalledProcessError) as error:
                print(f"{net} {name}: {error}", file=sys.stderr)
            kept.write_text(json.dumps(cells, indent=1))


def measure(options: argparse.Namespace, net: str, name: str, cells: Cells) -> None:
    """Measure one server with one model."""
    peer = PEERS.get(name, Peer(""))
    with running(options, net, name, peer) as (port, server):
        for kind in options.formats.split(","):
            if kind == "npy" and not peer.npy:
                continue
            for clients in options.clients.split(","):
                command = [sys.executable, str(HERE / "load.py"), "--port", str(port), "--clients", clients]
                command += ["--format", kind, "--seconds", str(options.seconds), "--path", peer.path]
                command += ["--dialect", peer.dialect, "--rows", str(options.folder / net / "rows.npz")]
                before = cpu_seconds(server.pid)
                done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
                if done.returncode:
                    print(f"{net} {name} {kind} {clients}: {done.stderr.splitlines()[-1]}", file=sys.stderr)
                    continue
                cell = json.loads(done.stdout)
                cell["cpu_ms"] = 1000 * (cpu_seconds(server.pid) - before) / cell["answers"]
                cells[f"{net} {kind} {clients} {name}"] = cell


@contextlib.contextmanager
def running(
    options: argparse.Namespace, net: str, name: str, peer: Peer
) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """Run a server for as long as the block lasts."""
    port, folder = free_port(), options.folder / net
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    if name in OURS:
        environ |= {"SAGEMAKER_BASE_DIR": str(folder), "SAGEMAKER_BIND_TO_PORT": str(port), **OURS[name]}
        command = [sys.executable, "-m", "twofold.serve"]
    else:
        command = [str(options.venvs / name / "bin" / "python"), str(HERE / "peers.py"), name, str(port), str(folder)]
    with (folder / f"{name}.log").open("wb") as log:
        server = subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True)
    try:
        wait(server, f"http://127.0.0.1:{port}{peer.ping}")
        yield port, server
    finally:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(20)
        # Some leave workers behind, which would be measured with whoever comes next.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait(20)


def wait(server: "subprocess.Popen[bytes]", url: str) -> None:
    """Wait for a server's first 200."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
            if answer.status == 200:
                return
        time.sleep(0.1)
    raise RuntimeError("does not start")


def cpu_seconds(session: int) -> float:
    """CPU time of all processes of a session: it says what a server costs on a busy machine, too."""
    ticks = 0
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = entry.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """Return a port that nobody has, nor the two behind it; MMS takes none from 32768 on."""
    for port in range(20_000 + os.getpid() % 9000, 32_000, 3):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for number in range(3):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port + number))
            return port
    raise RuntimeError("no port is free")


def report(cells: Cells) -> None:
    """Print a table for each model: requests/s, p50 and p99 in milliseconds, milliseconds of CPU a request."""
    for net in NETS:
        keys = [key.split() for key in cells if key.startswith(net)]
        names = [name for name in [*OURS, *PEERS] if any(key[3] == name for key in keys)]
        print(f"\n### {net}\n\n| body | clients |", " | ".join(names), "| ours / best peer |")
        print("|---|--:|", "--:|" * (len(names) + 1), sep="")
        for kind, clients in dict.fromkeys((key[1], key[2]) for key in keys):
            row = {name: cells.get(f"{net} {kind} {clients} {name}") for name in names}
            texts = [_text(cell) if cell else "-" for cell in row.values()]
            best = max((cell["rate"] for name, cell in row.items() if cell and name not in OURS), default=0.0)
            ratios = [f"{row[name]['rate'] / best:.1f}" for name in OURS if row.get(name) and best]
            print(f"| {kind} | {clients} |", " | ".join(texts), "|", ", ".join(ratios), "|")


def _text(cell: dict[str, float]) -> str:
    return f"{cell['rate']:,.0f} ({cell['p50_ms']:.2f}, {cell['p99_ms']:.1f}; {cell['cpu_ms']:.2f})"


if __name__ == "__main__":
    main()
