"""Whether the workers of a server grow: good and bad requests at full speed, and their memory in between.

    python benchmarks/serve_growth.py MODEL_BASE [--requests 500000]

MODEL_BASE is a folder with `model/` in it, an artifact of `train` for rows of one axis. A process with 32 connections
sends one request after the other on each, good and bad ones in turn; after each tenth of them the proportional set size
of every worker is read. Prints a Markdown table for `benchmarks/results/`.
"""

import argparse
import json
import platform
import random
import select
import socket
import struct
import time
from collections import Counter
from pathlib import Path

from serve_memory import Server, below, proportional

_CLIENTS = 32
_STEPS = 10


def post(body: bytes, content_type: str, *lines: str, path: str = "/invocations") -> bytes:
    """Bytes of a request."""
    head = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Type: {content_type}", *lines]
    if not any(line.startswith("Transfer-Encoding") for line in lines):
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode() + body


def mixture(features: int) -> dict[str, bytes]:
    """Requests of all kinds by what they are."""
    row = [0.5] * features
    line = ",".join(map(str, row)).encode() + b"\n"
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': (2, {features}), }}"
    header = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + text.ljust(117).encode() + b"\n"
    npy = header + struct.pack(f"<{2 * features}f", *row, *row)
    chunks = b"%x\r\n%b\r\n0\r\nX-Trailer: 1\r\n\r\n" % (len(line), line)
    return {
        "JSON": post(json.dumps({"instances": [row]}).encode(), "application/json"),
        "JSON for CSV": post(json.dumps([row] * 20).encode(), "application/json", "Accept: text/csv"),
        "CSV": post(line * 5, "text/csv", "X-Amzn-SageMaker-Custom-Attributes: trace=1"),
        "JSON Lines": post(json.dumps(row).encode() + b"\n", "application/jsonlines"),
        "NPY": post(npy, "application/x-npy", "Accept: application/x-npy"),
        "LibSVM, by Flask": post(b"1:0.5\n", "text/libsvm"),
        "CSV of 100 KB, by Flask": post(line * (100_000 // len(line)), "text/csv", "Accept: text/csv"),
        "chunked with a trailer": post(chunks, "text/csv", "Transfer-Encoding: chunked"),
        "no JSON": post(b"{", "application/json"),
        "a column too few": post(line[line.index(b",") + 1 :], "text/csv"),
        "no number": post(line.replace(b"0.5", b"x", 1), "text/csv"),
        "a type that nobody reads": post(line, "application/xml"),
        "an answer that nobody writes": post(line, "text/csv", "Accept: image/png"),
        "no such path": post(b"", "text/csv", path="/nothing"),
        "ping": b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n",
        "metrics": b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        "no HTTP": b"HELLO\r\n\r\n",
        "smuggled": post(b"0\r\n\r\n", "text/csv", "Transfer-Encoding: chunked", "Content-Length: 5"),
    }


class Client:
    """One connection, made anew when the server ends it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.connect()

    def connect(self) -> None:
        """Begin a connection."""
        self.sock = socket.create_connection(("127.0.0.1", self._port), timeout=60)
        self._data = b""

    def read(self) -> tuple[int, bool] | None:
        """Status of an answer once it is whole, and whether the connection goes on."""
        self._data += self.sock.recv(1 << 18)
        head, end, body = self._data.partition(b"\r\n\r\n")
        if not end:
            return None
        fields = dict(field.lower().split(b": ", 1) for field in head.split(b"\r\n")[1:])
        if len(body) < int(fields[b"content-length"]):
            return None
        self._data = b""
        return int(head[9:12]), fields.get(b"connection") != b"close"


def drive(port: int, requests: list[bytes], number: int) -> Counter[int]:
    """Send so many requests; return the answers by status."""
    draw, statuses = random.Random(1), Counter[int]()  # noqa: S311  a mixture, no secret
    poll, clients = select.epoll(), {}
    sent = 0

    def begin(client: Client) -> None:
        nonlocal sent
        clients[client.sock.fileno()] = client
        poll.register(client.sock, select.EPOLLIN)
        client.sock.sendall(draw.choice(requests))
        sent += 1

    for _ in range(_CLIENTS):
        begin(Client(port))
    while sum(statuses.values()) < number:
        for handle, _ in poll.poll(60):
            client = clients[handle]
            answer = client.read()
            if answer is None:
                continue
            status, goes_on = answer
            statuses[status] += 1
            if sent >= number:
                continue
            if goes_on:
                client.sock.sendall(draw.choice(requests))
                sent += 1
            else:
                poll.unregister(handle)
                client.sock.close()
                client.connect()
                begin(client)
    for client in clients.values():
        client.sock.close()
    return statuses


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("base", type=Path)
    parser.add_argument("--requests", type=int, default=500_000)
    options = parser.parse_args()
    features = json.loads((options.base / "model" / "twofold.json").read_text())["input"]["shape"][0]
    requests = list(mixture(features).values())
    print(f"{platform.machine()}, Python {platform.python_version()}\n")
    print("| requests | seconds | workers, MB each | open files each |\n|--:|--:|---|---|")
    statuses, start = Counter[int](), time.monotonic()
    with Server(options.base, SAGEMAKER_CONTAINER_LOG_LEVEL="40", SAGEMAKER_MODEL_SERVER_WORKERS="2") as server:
        for step in range(_STEPS + 1):
            workers = sorted(below(server.process.pid))
            sizes = ", ".join(f"{proportional(worker) / 1e6:.1f}" for worker in workers)
            files = ", ".join(str(len(list(Path(f"/proc/{worker}/fd").iterdir()))) for worker in workers)
            print(f"| {statuses.total():,} | {time.monotonic() - start:.0f} | {sizes} | {files} |", flush=True)
            if step < _STEPS:
                statuses += drive(server.port, requests, options.requests // _STEPS)
    print(f"\nAnswers by status: {', '.join(f'{status}: {count:,}' for status, count in sorted(statuses.items()))}")


if __name__ == "__main__":
    main()
