"""A model's whole life by the command `twofold`, as a user types it: real processes, our own `train` and `serve`."""

import json
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
    return typed(rehearsal, tmp_path)


def typed(rehearsal, folder):
    """What types `twofold VERB ...` in a folder, asks a rehearsal, and returns stdout."""

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "twofold", *arguments],
            cwd=folder,
            env={**os.environ, "AWS_ENDPOINT_URL": rehearsal.address},
            capture_output=True,
            text=True,
            timeout=250,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def lay(folder):
    """Lay out the digits, and twenty of them without their labels in held.csv; returns these with labels."""
    subprocess.run([sys.executable, DIGITS, folder / "data"], check=True, capture_output=True)
    held = (folder / "data" / "validation" / "digits.csv").read_text().splitlines()[:20]
    (folder / "held.csv").write_text("".join(line.split(",", 1)[1] + "\n" for line in held))
    return held


def right(answers, held):
    """How many answers, a line of probabilities each, are the digit that it was."""
    kinds = [max(range(10), key=list(map(float, line.split(","))).__getitem__) for line in answers.splitlines()]
    return sum(kind == int(line.split(",", 1)[0]) for kind, line in zip(kinds, held, strict=True))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_model_from_its_data_to_its_end(twofold, rehearsal, tmp_path):
    held = lay(tmp_path)
    twofold("init", "--project", "digits", "--data", "training=data/training", "--data", "validation=data/validation")
    job = twofold("train", "--local", "-p", "epochs=3", "-p", "baseline=true", "-p", "export_onnx=false").strip()
    assert job.startswith("digits-train-")
    assert "epoch=2" in twofold("logs", job, "--local")

    assert twofold("deploy", "--local") == "digits\n"
    assert right(twofold("invoke", "--local", "--input", "held.csv", "--accept", "text/csv"), held) >= 17

    # From the registry, beside the first, with requests kept.
    assert json.loads(twofold("evaluate", "--local", "--threshold", "0.5"))["serving"] is not None
    package = twofold("register", "--local").strip()
    assert twofold("approve", "--local").strip() == package
    twofold("deploy", "--local", "--from", package, "--variant", "next", "--weight", "10", "--capture", "100")
    twofold("shift", "50/50", "--local")
    assert "main 50 on 1, next 50 on 1" in twofold("status", "--local")
    for variant in ("main", "next"):
        twofold("invoke", "--local", "--input", "held.csv", "--accept", "text/csv", "--variant", variant)
    twofold("promote", "next", "--local")

    schedule = twofold("monitor", "--local", "--now").strip()
    bucket = "sagemaker-us-east-1-123456789012"
    keys = rehearsal.keys(bucket, f"digits/monitoring/digits/{schedule}/")
    (key,) = [key for key in keys if key.endswith("/statistics.json")]
    assert json.loads(rehearsal.read(f"s3://{bucket}/{key}"))["dataset"]["item_count"] == 40

    twofold("down", "--local", "--all")
    assert twofold("status", "--local") == "Nothing of digits is in us-east-1.\n"
    assert marked(rehearsal.state) == [], "nothing runs"
