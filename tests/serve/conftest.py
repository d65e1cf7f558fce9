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

from twofold.contract.artifact import WEIGHTS, Architecture, Manifest, Signature, write_manifest
from twofold.models.table import build

DEADLINE = 40


def write_artifact(base, *, task="classification", classes=(0, 1, "two"), features=4, hidden=(8,), shape=None):
    """Write a model folder below `base` as `train` does, and return the module in it."""
    torch.manual_seed(7)
    arguments = {"features": features, "outputs": len(classes) if classes else 1, "hidden": list(hidden)}
    module = build("mlp", arguments).eval()
    module[0].fit(torch.full((features,), 0.5), torch.full((features,), 2.0))
    folder = base / "model"
    folder.mkdir(parents=True)
    save_file(module.state_dict(), folder / WEIGHTS)
    manifest = Manifest(
        task=task,
        architecture=Architecture(name="mlp", arguments=arguments),
        input=Signature(shape=list(shape or (features,))),
        classes=list(classes) if classes else None,
    )
    write_manifest(folder, manifest)
    return module


def answers_of(module, rows, *, probabilities=True):
    """What PyTorch itself answers in this process."""
    with torch.inference_mode():
        outputs = module(torch.as_tensor(rows, dtype=torch.float32))
        return (outputs.softmax(1) if probabilities else outputs.squeeze(1)).numpy()


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

    def stop(self):
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE)

    def end(self):
        if self.process.poll() is None:
            self.stop()


@pytest.fixture
def serving(tmp_path):
    """Start servers that end with the test."""
    started = []

    def start(base, **environ):
        server = Running(base, tmp_path / f"serve-{len(started)}.log", **environ)
        started.append(server)
        return server

    yield start
    for server in started:
        server.end()


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """Base folder and module of a classifier of 4 features and 3 classes."""
    base = tmp_path_factory.mktemp("classifier")
    return base, write_artifact(base)


@pytest.fixture(scope="module")
def regressor(tmp_path_factory):
    """Base folder and module of a regression on 4 features."""
    base = tmp_path_factory.mktemp("regressor")
    return base, write_artifact(base, task="regression", classes=None)
