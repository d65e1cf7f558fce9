"""Small artifacts, and servers on them that run for real."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import save_file
from twofold.contract.artifact import WEIGHTS, Architecture, Manifest, Signature, read_manifest, write_manifest
from twofold.models.table import build
from twofold.train.interrupt import Interrupt
from twofold.train.onnx_export import add_program

DEADLINE = 40


class Artifact:
    """A model folder below `base`, as `train` writes it, and what PyTorch itself answers in this process."""

    def __init__(self, base, *, task="classification", classes=(0, 1, "two"), features=4, hidden=(8,)):
        torch.manual_seed(7)
        self.base = base
        self.folder = base / "model"
        self.task = task
        self.classes = classes
        arguments = {"features": features, "outputs": len(classes) if classes else 1, "hidden": list(hidden)}
        self.module = build("mlp", arguments).eval()
        self.module[0].fit(torch.full((features,), 0.5), torch.full((features,), 2.0))
        self.folder.mkdir(parents=True)
        save_file(self.module.state_dict(), self.folder / WEIGHTS)
        manifest = Manifest(
            task=task,
            architecture=Architecture(name="mlp", arguments=arguments),
            input=Signature(shape=[features]),
            classes=list(classes) if classes else None,
        )
        write_manifest(self.folder, manifest)

    def add_program(self):
        """Add the ONNX program, as `train` does, and return this artifact."""
        rows = torch.randn(8, *self.module[0].mean.shape, generator=torch.Generator().manual_seed(1))
        add_program(self.folder, rows, Interrupt())
        assert read_manifest(self.folder).onnx is not None
        return self

    def answers(self, rows):
        with torch.inference_mode():
            outputs = self.module(torch.as_tensor(rows, dtype=torch.float32))
            return (outputs.squeeze(1) if self.task == "regression" else outputs.softmax(1)).numpy()

    def labels(self, rows):
        return [self.classes[index] for index in self.answers(rows).argmax(1)]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition, what, deadline=DEADLINE):
    """Poll until a condition holds, and fail when it does not in time."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {deadline} s: {what}"
        time.sleep(0.02)


def everything(client):
    """All that a server sends until it closes."""
    parts = []
    while part := client.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


class Running:
    """A `serve` process and a way to talk to it."""

    def __init__(self, base, log, **environ):
        self.port = free_port()
        self.log_path = log
        with log.open("wb") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "twofold.serve"],
                env={
                    **os.environ,
                    "SAGEMAKER_BASE_DIR": str(base),
                    "SAGEMAKER_BIND_TO_PORT": str(self.port),
                    **environ,
                },
                stdout=sink,
                stderr=subprocess.STDOUT,
            )

    @property
    def log(self):
        return self.log_path.read_text()

    def connect(self, timeout=20):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(self, method, path, body=None, headers=None):
        """Send one request on a connection of its own: status, headers, body."""
        connection = self.connect()
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def ready(self):
        def answers():
            assert self.process.poll() is None, self.log
            with contextlib.suppress(OSError):
                return self.ask("GET", "/ping")[0] == 200

        until(answers, f"/ping is 200; log:\n{self.log}")
        return self

    def half(self, body, path="/invocations", content_type="text/csv"):
        """Send a request but for its last byte, wait until a worker has it in hand, and return the socket."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE)
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        client.sendall(head.encode() + b"Expect: 100-continue\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 100"), "a worker says so when it starts with the request"
        client.sendall(body[:-1])
        return client

    def raw(self, data):
        """Send bytes as they are and return all that comes back until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE) as client:
            client.sendall(data)
            return everything(client)

    def refuses(self):
        """Whether nobody listens any more."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        except ConnectionRefusedError:
            return True
        return False

    def stop(self):
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE)

    def end(self):
        if self.process.poll() is None:
            self.stop()


@pytest.fixture(scope="session", name="until")
def until_fixture():
    """`until(condition, what)`: poll a condition until a deadline."""
    return until


@pytest.fixture(scope="session", name="everything")
def everything_fixture():
    """`everything(socket)`: all that a server sends until it closes."""
    return everything


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    """Start servers that end with the module's tests."""
    logs = tmp_path_factory.mktemp("logs")
    started = []

    def start(base, **environ):
        server = Running(base, logs / f"serve-{len(started)}.log", **environ)
        started.append(server)
        return server

    yield start
    for server in started:
        server.end()


@pytest.fixture
def artifact(tmp_path):
    """A classifier of 4 features and 3 classes that the test may spoil."""
    return Artifact(tmp_path / "artifact")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A classifier of 4 features and 3 classes, not to be changed."""
    return Artifact(tmp_path_factory.mktemp("classifier"))


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    """A classifier with a verified ONNX program, not to be changed."""
    return Artifact(tmp_path_factory.mktemp("program")).add_program()


@pytest.fixture(scope="module")
def regressor(tmp_path_factory):
    """A regression on 4 features, not to be changed."""
    return Artifact(tmp_path_factory.mktemp("regressor"), task="regression", classes=None)


@pytest.fixture
def gpt(tmp_path):
    """An untrained `gpt` of bytes: the parent of its folder, and its module."""
    arguments = {"vocabulary": 257, "context": 32, "width": 16, "layers": 1, "heads": 2, "tokenizer": "bytes"}
    torch.manual_seed(3)
    module = build("gpt", arguments).eval()
    folder = tmp_path / "model"
    folder.mkdir()
    save_file(module.state_dict(), folder / WEIGHTS)
    manifest = Manifest(
        task="language-modelling",
        architecture=Architecture(name="gpt", arguments=arguments),
        input=Signature(shape=[32], dtype="int64"),
    )
    write_manifest(folder, manifest)
    return tmp_path, module
