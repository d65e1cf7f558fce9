"""AWS's SDK v2, unmodified and not in local mode, against a rehearsal on a Docker engine."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ...rehearse.conftest import Rehearsal, until
from ..test_rehearse import csv, left, rows


@pytest.fixture
def rehearsal(tmp_path):
    started = Rehearsal(tmp_path / "state", tmp_path / "rehearse.log", "--backend", "docker", "--grace", "30")
    yield started
    assert started.stop() == 0
    assert left(started) == ([], [])


def test_sdk_v2_trains_deploys_and_predicts(rehearsal, image, make_sdk, tmp_path):
    (tmp_path / "training.csv").write_bytes(csv(rows(200, 0)))
    held = rows(30, 3)
    (tmp_path / "held.json").write_text(json.dumps(held[:, 1:].tolist()))
    sdk = make_sdk("sdk2")
    environ = {**sdk.environ(), "AWS_ENDPOINT_URL": rehearsal.address}
    done = subprocess.run(
        [sdk.python, Path(__file__).parent / "rehearse_v2.py", image, tmp_path],
        env=environ,
        cwd=sdk.home,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    predictions = json.loads((tmp_path / "answer.json").read_text())["predictions"]
    assert (np.argmax(predictions, axis=1) == held[:, 0]).mean() > 0.8
    until(lambda: not rehearsal.sagemaker.list_endpoints()["Endpoints"], "the endpoint is gone")
