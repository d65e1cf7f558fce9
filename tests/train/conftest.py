"""Small data with something to learn in it, and a rank that runs in this process."""

import base64
import contextlib
import hashlib
import os
import resource
import secrets
import socket
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from twofold.contract.artifact import Manifest, read_manifest
from twofold.contract.job import read_training_job
from twofold.contract.paths import Paths
from twofold.stream.catalog import Host, open_dataset
from twofold.train import program
from twofold.train.interrupt import Interrupt
from twofold.train.ranks import Ranks
from twofold.train.samples import Reading, open_samples


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Models of a few weights gain nothing from a second thread, and lose much on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def until():
    """until(condition): wait until it holds."""

    def wait(condition):
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.01)

    return wait


@pytest.fixture(scope="session")
def hung_within():
    """hung_within(watch, seconds=30) -> whether a watch that is asked again and again says so in that time."""

    def ask(watch, seconds=30):
        end = time.monotonic() + seconds
        while not watch():
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    return ask


@pytest.fixture(scope="session")
def classes():
    """classes(n, labels=(0, 1, 2), seed=0) -> rows `[n, 4]`: a label and three features that tell it."""

    def make(count, labels=(0, 1, 2), seed=0):
        random = np.random.default_rng(seed)
        kind = np.arange(count) % len(labels)
        centres = np.random.default_rng(1).normal(size=(len(labels), 3)) * 6
        return np.column_stack([np.asarray(labels)[kind], centres[kind] + random.normal(size=(count, 3))])

    return make


@pytest.fixture(scope="session")
def quantities():
    """quantities(n, seed=0) -> rows `[n, 4]`: a quantity around 500 and three features that it depends on."""

    def make(count, seed=0):
        random = np.random.default_rng(seed)
        features = random.normal(size=(count, 3)) * [1, 10, 100]
        labels = 500 + 30 * features[:, 0] - 2 * features[:, 1] + random.normal(size=count)
        return np.column_stack([labels, features])

    return make


@pytest.fixture(scope="session")
def prose():
    """Channels of text; with rows of 16 tokens and batches of 8 an epoch's last batch has one sample."""
    random = np.random.default_rng(0)
    words = ["the rank ", "a block ", "its weights ", "of every mesh ", "sees one batch ", "and so on. "]
    return {
        "training": {"a.txt": "".join(random.choice(words, 200))[: 17 * 31]},
        "validation": {"v.txt": "".join(random.choice(words, 100))[: 17 * 12]},
    }


@pytest.fixture(scope="session")
def start_ranks():
    """Run a script of tests/scripts on so many ranks, to its end."""

    def start(count, script, *arguments):
        command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={count}", "--standalone"]
        script = Path(__file__).parents[1] / "scripts" / script
        return subprocess.run(
            [*command, "--local-addr=localhost", str(script), *map(str, arguments)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )

    return start


@pytest.fixture(scope="session")
def train_together(start_ranks):
    """The same for a script that trains trees; it has to end well. Returns what it said."""

    def train(count, script, *arguments):
        done = start_ranks(count, script, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stderr

    return train


@pytest.fixture
def samples_of(tmp_path):
    """samples_of(array, ..., channel="training", suffix="npy") -> samples of files of rows, label first."""

    def make(*arrays, channel="training", suffix="npy", **options):
        folder = tmp_path / channel
        folder.mkdir()
        for number, rows in enumerate(arrays):
            if suffix == "npy":
                np.save(folder / f"{number}.npy", rows)
            else:
                np.savetxt(folder / f"{number}.{suffix}", rows, fmt="%.9g", delimiter=",")
        return open_samples(
            open_dataset(folder, channel=channel, host=Host(tmp_path / "scratch"), **options),
            Reading(),
            Ranks(),
            sharded=False,
        )

    return make


class AfterSteps(Interrupt):
    """A flag that is raised at the end of step number `steps`."""

    def __init__(self, steps):
        self.left = steps

    @property
    def raised(self):
        self.left -= 1
        return self.left <= 0


@dataclass
class Trained:
    """What a run has left in its tree."""

    paths: Paths

    @property
    def manifest(self) -> Manifest:
        return read_manifest(self.paths.model)

    @property
    def weights(self):
        """Bytes of each tensor by name."""
        return {name: t.numpy().tobytes() for name, t in load_file(self.paths.model / "weights.safetensors").items()}

    @property
    def history(self):
        return (self.paths.output_data / "metrics.jsonl").read_text()


@pytest.fixture
def meeting():
    """Environment of the hosts of one job: ports of their own, since other jobs of this machine may be at 7777."""
    while True:
        # Below the ports that the kernel gives away.
        port = 10_000 + secrets.randbelow(20_000)
        with contextlib.suppress(OSError), socket.socket() as ranks, socket.socket() as parents:
            ranks.bind(("", port))
            parents.bind(("", port + 1))
            return {"MASTER_PORT": str(port)}


@pytest.fixture
def train_here(tmp_path, monkeypatch):
    """Run the one rank of a job in this process; `stop_after` steps SIGTERM comes."""

    def train(paths, stop_after=None):
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        interrupt = Interrupt() if stop_after is None else AfterSteps(stop_after)
        monkeypatch.setattr(program, "listening", lambda: contextlib.nullcontext(interrupt))
        program.run(read_training_job(paths, {}), Ranks(), Path(scratch))
        return Trained(paths)

    return train


@pytest.fixture
def files_of_at_most():
    """As a full disk does, fail writes beyond so many bytes; Python ignores the signal that comes with it."""

    @contextlib.contextmanager
    def limited(size):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


@pytest.fixture(scope="session")
def make_wheel():
    """make_wheel(folder, name="tinywheel", version="1.0")."""

    def make(folder, name="tinywheel", version="1.0"):
        """Write a wheel with one module that holds its version."""
        info = f"{name}-{version}.dist-info"
        files = {
            f"{name}.py": f"VERSION = {version!r}\n",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = ""
        for path, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{path},sha256={digest},{len(text)}\n"
        with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            for path, text in {**files, f"{info}/RECORD": record + f"{info}/RECORD,,\n"}.items():
                wheel.writestr(path, text)

    return make
