"""The command `twofold` against a rehearsal on a Docker engine: a model's whole life in containers of the image."""

import json
import urllib.request

import pytest
from botocore.exceptions import ClientError

from ..lifecycle.test_walk import lay, right, typed
from ..rehearse.conftest import ROLE
from .conftest import left

BUCKET = "sagemaker-us-east-1-123456789012"


@pytest.mark.timeout(900)
def test_a_model_from_its_data_to_its_end(rehearsal, image, tmp_path):
    twofold, held = typed(rehearsal, tmp_path), lay(tmp_path)

    def verb(name, *arguments):
        return twofold(name, "--local", *arguments)

    data = ("--data", "training=data/training", "--data", "validation=data/validation")
    twofold("init", "--project", "digits", "--image", image, *data)
    job = verb("train", "-p", "epochs=3", "-p", "baseline=true", "-p", "export_onnx=false").strip()
    assert "epoch=2" in verb("logs", job)
    assert "no container" not in verb("logs", job), "the image ran, and no process in its place"
    assert verb("deploy") == "digits\n"
    asked = ("--input", "held.csv", "--accept", "text/csv")
    assert right(verb("invoke", *asked), held) >= 17

    assert json.loads(verb("evaluate", "--threshold", "0.5"))["serving"] is not None
    package = verb("register", "--commit", "0123abc").strip()
    assert verb("approve").strip() == package
    verb("deploy", "--from", package, "--variant", "next", "--weight", "10", "--capture", "100")
    verb("shift", "50/50")
    assert "main 50 on 1, next 50 on 1" in verb("status")
    for variant in ("main", "next"):
        assert right(verb("invoke", *asked, "--variant", variant), held) >= 17
    verb("promote", "next")
    assert "next 100 on 1" in verb("status")

    answers = verb("transform", "held.csv", "--set", "transform.accept=text/csv").strip()
    bucket, _, prefix = answers.removeprefix("s3://").partition("/")
    (key,) = rehearsal.keys(bucket, prefix)
    assert right(rehearsal.read(f"s3://{bucket}/{key}").decode(), held) >= 17

    schedule = verb("monitor", "--now").strip()
    keys = rehearsal.keys(BUCKET, f"digits/monitoring/digits/{schedule}/")
    (key,) = [key for key in keys if key.endswith("/statistics.json")]
    assert json.loads(rehearsal.read(f"s3://{BUCKET}/{key}"))["dataset"]["item_count"] == 40

    verb("down", "--all")
    # SageMaker has no operation that deletes a transform job.
    _, rest = verb("status").splitlines()
    assert rest.startswith("transform job")
    assert left(rehearsal) == ([], [])


STARTED = """
import boto3
boto3.client("s3").create_bucket(Bucket="made-by-the-script")
open("/home/ec2-user/SageMaker/started", "w").close()
"""


@pytest.mark.timeout(600)
def test_a_notebook_instance_is_jupyterlab_in_a_container(rehearsal, studio, tmp_path):
    twofold = typed(rehearsal, tmp_path)
    twofold("init", "--project", "books")
    with pytest.raises(ClientError, match="twofold:studio has no git"):
        rehearsal.sagemaker.create_notebook_instance(
            NotebookInstanceName="git",
            InstanceType="ml.t3.medium",
            RoleArn=ROLE,
            DefaultCodeRepository="https://example.com/shared.git",
        )
    (tmp_path / "start.sh").write_text(f"python3 -c '{STARTED}'\n")
    url = twofold("notebook", "--local", "--set", "notebook.on_start=start.sh").strip()
    page, _, token = url.partition("?")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{page.removesuffix('/lab')}/api/contents?{token}", timeout=30) as answer:
        assert [entry["name"] for entry in json.load(answer)["content"]] == ["started"]
    assert "made-by-the-script" in [b["Name"] for b in rehearsal.client("s3").list_buckets()["Buckets"]]
    assert len(left(rehearsal)[0]) == 1
    with opener.open(url, timeout=30) as answer:
        assert "JupyterLab" in answer.read().decode()
    twofold("down", "--local")
    assert left(rehearsal) == ([], [])
    assert twofold("status", "--local") == "Nothing of books is in us-east-1.\n"
