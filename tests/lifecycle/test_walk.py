"""A model's whole life by the command `twofold`, as a user types it: real processes, our own `train` and `serve`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..rehearse.conftest import Rehearsal
from ..rehearse.test_rehearsal import marked

DIGITS = Path(__file__).parents[2] / "examples" / "digits" / "digits.py"


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory):
    """A rehearsal of its own, so that nothing of other tests runs in it."""
    folder = tmp_path_factory.mktemp("rehearse")
    started = Rehearsal(folder / "state", folder / "rehearse.log", "--backend", "process", "--grace", "30")
    yield started
    started.stop()


@pytest.fixture
def twofold(rehearsal, tmp_path):
    """Type `twofold VERB ...` in the project's folder; returns stdout."""

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "twofold", *arguments],
            cwd=tmp_path,
            env={**os.environ, "AWS_ENDPOINT_URL": rehearsal.address},
            capture_output=True,
            text=True,
            timeout=250,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.slow
def test_a_model_from_its_data_to_its_end(twofold, rehearsal, tmp_path):
    subprocess.run([sys.executable, DIGITS, tmp_path / "data"], check=True, capture_output=True)
    held = (tmp_path / "data" / "validation" / "digits.csv").read_text().splitlines()[:20]
    (tmp_path / "held.csv").write_text("".join(line.split(",", 1)[1] + "\n" for line in held))

    twofold("init", "--project", "digits", "--data", "training=data/training", "--data", "validation=data/validation")
    job = twofold("train", "--local", "-p", "epochs=3", "-p", "export_onnx=false").strip()
    assert job.startswith("digits-train-")
    assert "epoch=2" in twofold("logs", job, "--local")

    assert twofold("deploy", "--local") == "digits\n"
    answers = twofold("invoke", "--local", "--input", "held.csv", "--accept", "text/csv").splitlines()
    kinds = [max(range(10), key=list(map(float, line.split(","))).__getitem__) for line in answers]
    right = sum(kind == int(line.split(",", 1)[0]) for kind, line in zip(kinds, held, strict=True))
    assert right >= 17

    twofold("down", "--local", "--all")
    assert twofold("status", "--local") == "Nothing of digits is in us-east-1.\n"
    assert marked(rehearsal.state) == [], "nothing runs"
