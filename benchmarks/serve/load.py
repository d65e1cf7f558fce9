"""A closed loop of keep-alive clients in one process: each sends its next request when it has its last answer.

python benchmarks/serve/load.py --port 8080 --clients 32 --seconds 5 --format json
"""

import argparse
import io
import json
import select
import socket
import sys
import time
from pathlib import Path

import numpy as np

TYPES = {"json": "application/json", "npy": "application/x-npy"}


def requests(path: Path, kind: str, address: str, dialect: str) -> tuple[list[bytes], np.ndarray]:
    """Bytes of each request, and the answer that it must get."""
    data = np.load(path)
    head = "POST {0} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {1}\r\nAccept: {1}\r\nContent-Length: {2}\r\n\r\n"
    bodies = [body(row[None], kind, dialect) for row in data["rows"]]
    return [head.format(address, TYPES[kind], len(part)).encode() + part for part in bodies], data["answers"]


def body(rows: np.ndarray, kind: str, dialect: str) -> bytes:
    """Write one row `[1, ...]`, its decimals as people write them."""
    if kind == "npy":
        file = io.BytesIO()
        np.save(file, rows)
        return file.getvalue()
    values = [round(value, 4) for value in rows.ravel().tolist()]
    if dialect == "v2":
        datatype = "INT64" if rows.dtype == np.int64 else "FP32"
        entry = {"name": "x", "shape": list(rows.shape), "datatype": datatype, "data": values}
        return json.dumps({"inputs": [entry]}).encode()
    return json.dumps({"instances": np.array(values).astype(object).reshape(rows.shape).tolist()}).encode()


def decode(body: bytes, kind: str) -> np.ndarray:
    """Numbers of an answer, in whatever shape a server puts them."""
    if kind == "json":
        value = json.loads(body)
        if isinstance(value, dict):
            value = value["outputs"][0]["data"] if "outputs" in value else value["predictions"]
        return np.asarray(value, np.float32).reshape(-1)
    start = 10 + int.from_bytes(body[8:10], "little")
    return np.frombuffer(body, np.float32, offset=start)


class Client:
    """One connection."""

    def __init__(self, port: int, place: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.place = place
        self.sent = 0.0
        self.buffer = b""

    def answer(self) -> bytes | None:
        """Body of the answer, once it is whole."""
        data = self.sock.recv(1 << 16)
        if not data:
            message = "the server has closed a connection"
            raise ConnectionError(message)
        data = self.buffer + data
        end = data.find(b"\r\n\r\n")
        if end >= 0:
            head = data[:end].lower()
            at = head.find(b"content-length:")
            stop = head.find(b"\r\n", at)
            length = int(head[at + 15 : stop if stop >= 0 else len(head)])
            if len(data) >= end + 4 + length:
                if b" 200 " not in data[:16]:
                    message = f"a request was refused: {data[:300]!r}"
                    raise ConnectionError(message)
                self.buffer = b""
                return data[end + 4 :]
        self.buffer = data
        return None


def wait(port: int, send: bytes) -> None:
    """Wait for a first answer: some say that they are ready before their model is."""
    first = Client(port, 0)
    first.sock.settimeout(60)
    first.sock.sendall(send)
    while first.answer() is None:
        pass
    first.sock.close()


def drive(options: argparse.Namespace, sends: list[bytes], answers: np.ndarray) -> dict[str, float]:
    """Load a server; check every 16th answer and the first hundred of all."""
    wait(options.port, sends[0])
    group = {}
    poll = select.epoll()
    for place in range(options.clients):
        client = Client(options.port, place)
        group[client.sock.fileno()] = client
        poll.register(client.sock, select.EPOLLIN)
    latencies: list[float] = []
    done = 0
    clock = time.perf_counter
    spent = time.process_time()
    start = clock()
    measured = start + 0.2 * options.seconds
    end = measured + options.seconds
    for client in group.values():
        client.sent = clock()
        client.sock.sendall(sends[client.place % len(sends)])
    now = start
    while now < end:
        for handle, _ in poll.poll(5):
            client = group[handle]
            body = client.answer()
            if body is None:
                continue
            now = clock()
            if now >= measured:
                latencies.append(now - client.sent)
            if done < 100 or done % 16 == 0:
                expected = answers[client.place % len(sends)]
                error = np.abs(decode(body, options.format) - expected).max()
                if error > 1e-4:
                    message = f"wrong answer: off by {error}"
                    raise ValueError(message)
            done += 1
            client.place += options.clients
            client.sent = clock()
            client.sock.sendall(sends[client.place % len(sends)])
        now = clock()
    spent = time.process_time() - spent
    for client in group.values():
        client.sock.close()
    p50, p99 = np.percentile(latencies, [50, 99])
    found = {"rate": len(latencies) / options.seconds, "p50_ms": 1000 * p50, "p99_ms": 1000 * p99, "answers": done}
    return found | {"load_ms": 1000 * spent / done}


def main() -> None:
    """Drive one server and print the numbers as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--format", choices=TYPES, default="json")
    parser.add_argument("--rows", type=Path, required=True, help="rows.npz as artifact.py writes it")
    parser.add_argument("--path", default="/invocations")
    parser.add_argument("--dialect", choices=("rows", "v2"), default="rows")
    options = parser.parse_args()
    sends, answers = requests(options.rows, options.format, options.path, options.dialect)
    found = drive(options, sends, answers)
    json.dump(found, sys.stdout)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
