"""AWS's SDKs and command line, unmodified and not in local mode, against a rehearsal on a Docker engine."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ...rehearse.conftest import ROLE, Rehearsal, until
from ..test_rehearse import csv, left, rows, training


@pytest.fixture
def rehearsal(tmp_path):
    started = Rehearsal(tmp_path / "state", tmp_path / "rehearse.log", "--backend", "docker", "--grace", "30")
    yield started
    assert started.stop() == 0
    assert left(started) == ([], [])


def run(sdk, rehearsal, *argv, **environ):
    """Run a program in an SDK's environment, pointed at the rehearsal; what it prints."""
    done = subprocess.run(
        list(map(str, argv)),
        env={**sdk.environ(), "AWS_ENDPOINT_URL": rehearsal.address, **environ},
        cwd=sdk.home,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("version", [2, 3])
def test_an_sdk_trains_deploys_and_predicts(rehearsal, image, make_sdk, tmp_path, version):
    """Version 2 by Estimator and Predictor, 3 by ModelTrainer, Model, EndpointConfig and Endpoint."""
    (tmp_path / "training.csv").write_bytes(csv(rows(200, 0)))
    held = rows(30, 3)
    (tmp_path / "held.csv").write_bytes(csv(held[:, 1:]))
    sdk, script = make_sdk(f"sdk{version}"), Path(__file__).parent / f"rehearse_v{version}.py"
    # moto does not simulate policies, which version 3 asks for before it trains.
    run(sdk, rehearsal, sdk.python, script, image, tmp_path, SAGEMAKER_VALIDATE_ROLE="false")
    predictions = json.loads((tmp_path / "answer.json").read_text())["predictions"]
    assert (np.argmax(predictions, axis=1) == held[:, 0]).mean() > 0.8
    until(lambda: not rehearsal.sagemaker.list_endpoints()["Endpoints"], "the endpoint is gone")


def test_the_command_line_uploads_trains_waits_describes_and_lists(rehearsal, image, make_sdk, tmp_path):
    sdk, bucket = make_sdk("awscli"), rehearsal.bucket()
    (tmp_path / "training.csv").write_bytes(csv(rows(200, 0)))
    request = training(image, bucket, TrainingJobName="by-cli", HyperParameters={"epochs": "1", "model": "linear"})
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/training/"}
    request["InputDataConfig"] = [
        {"ChannelName": "training", "ContentType": "text/csv", "DataSource": {"S3DataSource": source}}
    ]
    (tmp_path / "job.json").write_text(json.dumps(request))

    def aws(*arguments):
        return run(sdk, rehearsal, sdk.python, "-m", "awscli", *arguments)

    aws("s3", "cp", tmp_path / "training.csv", f"s3://{bucket}/training/")
    aws("sagemaker", "create-training-job", "--cli-input-json", f"file://{tmp_path / 'job.json'}")
    name = ["--training-job-name", "by-cli"]
    until(lambda: rehearsal.sagemaker.list_training_jobs(StatusEquals="Completed")["TrainingJobSummaries"], "its end")
    aws("sagemaker", "wait", "training-job-completed-or-stopped", *name)
    job = json.loads(aws("sagemaker", "describe-training-job", *name))
    assert (job["TrainingJobStatus"], job["RoleArn"]) == ("Completed", ROLE)
    shown = aws("sagemaker", "list-training-jobs", "--query", "TrainingJobSummaries[].TrainingJobName", "--output=text")
    assert shown.split() == ["by-cli"]
    assert "model.tar.gz" in aws("s3", "ls", f"s3://{bucket}/jobs/by-cli/output/")
