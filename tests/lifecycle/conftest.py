"""The command `twofold` on a rehearsal: a folder of a project, and its verbs, called as the command line calls them.

twofold     twofold("deploy", "--from", place) -> Said, what a verb has printed, and its exit code
project     Project: a folder with twofold.yaml, in which verbs run
"""

import contextlib
import os
from dataclasses import dataclass
from itertools import count

import pytest
from click.testing import CliRunner
from twofold.lifecycle.__main__ import main

from ..rehearse.conftest import SERVER, Rehearsal, archive, ended, job_request
from ..rehearse.test_notebook import LAB

NAMES = count(1)
JOB = """
import json, os, pathlib
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
manifest = {{"task": "regression", "architecture": {{"name": "mlp"}}, "input": {{"shape": [1]}}}}
manifest["metrics"] = {{"validation:loss": {loss}, "validation:rmse": 1.0}}
(base / "model/twofold.json").write_text(json.dumps(manifest))
(base / "model/word.txt").write_text("{loss}")
if {baseline}:
    folder = base / "output/data/baseline"
    folder.mkdir(parents=True)
    for name in ("statistics.json", "constraints.json"):
        (folder / name).write_text(name)
"""
"""A training job in a blink: what `train` leaves, by hand."""


@dataclass
class Said:
    """What a verb has printed."""

    code: int
    out: str
    err: str

    @property
    def last(self):
        """The last line of the result, which scripts take."""
        return self.out.splitlines()[-1]


class Project:
    """A project of its own in a folder of its own, and a rehearsal that others share."""

    def __init__(self, rehearsal, folder, server):
        self.rehearsal, self.folder, self.server = rehearsal, folder, server
        self.name = f"p{next(NAMES)}x"

    def run(self, verb, *arguments, fails=False, local=True, environ=None):
        """Run a verb in the folder; unless it `fails` it has to succeed."""
        texts = [verb, *map(str, arguments), *(["--local"] if local and verb != "init" else [])]
        environ = {"AWS_ENDPOINT_URL": self.rehearsal.address} if environ is None else environ
        with contextlib.chdir(self.folder):
            done = CliRunner(env=environ).invoke(main, texts, catch_exceptions=False)
        assert (done.exit_code != 0) == fails, done.stdout + done.stderr
        return Said(done.exit_code, done.stdout, done.stderr)

    def model(self, word):
        """An archive of a model that answers with a word; needs `self.path` in the container's environment."""
        path = self.folder / f"{word}.tar.gz"
        path.write_bytes(archive(word_txt=word))
        return path.name

    def init(self, *arguments):
        """Write twofold.yaml, and have the small server answer instead of `serve`."""
        self.run("init", "--project", self.name, *arguments)
        text = (self.folder / "twofold.yaml").read_text()
        # The first empty environment is that of the training job, the second that of the endpoint.
        before, after = text.split("deploy:\n", 1)
        served = after.replace("environment: {}", f"environment: {{PATH: {self.server}}}", 1)
        (self.folder / "twofold.yaml").write_text(f"{before}deploy:\n{served}")

    def trained(self, loss, *, baseline=True):
        """A training job of this project that has left a manifest with a loss, and a baseline; returns its name."""
        bucket = self.rehearsal.bucket()
        name = f"{self.name}-train-{next(NAMES)}"
        script = JOB.format(loss=loss, baseline=baseline)
        mine = [{"Key": "twofold:project", "Value": self.name}]
        request = job_request(self.rehearsal, bucket, name, script, Tags=mine)
        self.rehearsal.sagemaker.create_training_job(**request)
        assert ended(self.rehearsal, name)["TrainingJobStatus"] == "Completed"
        return name

    def endpoint(self, name=None):
        return self.rehearsal.sagemaker.describe_endpoint(EndpointName=name or self.name)


@pytest.fixture(scope="session")
def rehearsal(tmp_path_factory):
    """The rehearsal that these tests share: each project has a name of its own."""
    folder = tmp_path_factory.mktemp("rehearse")
    (folder / "jupyter-lab").write_text(LAB)
    (folder / "jupyter-lab").chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    started = Rehearsal(folder / "state", folder / "rehearse.log", "--backend", "process", "--grace", "20", PATH=path)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Folder with a `serve` that is a small server instead of ours."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "serve").write_text(SERVER)
    (folder / "serve").chmod(0o755)
    return folder


@pytest.fixture
def project(rehearsal, tmp_path, server):
    """A project; what of it runs is ended."""
    made = Project(rehearsal, tmp_path, server)
    yield made
    sagemaker = rehearsal.sagemaker
    for endpoint in sagemaker.list_endpoints(NameContains=made.name)["Endpoints"]:
        sagemaker.delete_endpoint(EndpointName=endpoint["EndpointName"])
