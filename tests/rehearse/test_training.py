"""Training jobs of small scripts, asked for and looked at through boto3."""

import io
import json
import subprocess
import sys
import tarfile
import time

import pytest
from botocore.exceptions import ClientError

from .conftest import NUMBERS, channel, ended, job_request, secondary, until

PREPARE = """
import json, os, pathlib, signal, sys, time
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
config = base / "input/config"
resources = json.loads((config / "resourceconfig.json").read_text())
host, data = resources["current_host"], base / "input/data"
rank = sorted(resources["hosts"]).index(host)
"""


def unpacked(body):
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        return {member.name: tar.extractfile(member).read().decode() for member in tar}


def test_two_hosts_see_what_the_platform_shows(shared, train):
    bucket = shared.bucket(**{f"data/part/{number}.csv": b"%d" % number for number in range(3)})
    script = (
        PREPARE
        + """
seen = {"hps": json.loads((config / "hyperparameters.json").read_text()), "resources": resources,
  "inputs": json.loads((config / "inputdataconfig.json").read_text()), "env": dict(os.environ),
  "files": sorted(str(f.relative_to(data)) for f in data.rglob("*") if f.is_file() and f.parent.name != "code")}
(base / f"model/{rank}.json").write_text(json.dumps(seen))
(base / "output/data/report.txt").write_text(f"by {rank}")
print(f"loss={1 / (rank + 1)};", flush=True)
"""
    )
    job = train(
        script,
        bucket,
        hosts=2,
        HyperParameters={"epochs": "3", "name": '"adam"'},
        Environment={"COLOUR": "blue"},
        InputDataConfig=[
            channel("train", f"s3://{bucket}/data/", "ShardedByS3Key", ContentType="text/csv"),
            channel("all", f"s3://{bucket}/data/pa", InputMode="FastFile"),
        ],
        algorithm={"MetricDefinitions": [{"Name": "loss", "Regex": r"loss=([0-9.]+);"}]},
    )
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    statuses = [step["Status"] for step in job["SecondaryStatusTransitions"]]
    assert statuses == ["Starting", "Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert all("EndTime" in step for step in job["SecondaryStatusTransitions"])
    uri = job["ModelArtifacts"]["S3ModelArtifacts"]
    assert uri == f"s3://{bucket}/out/{job['TrainingJobName']}/output/model.tar.gz"
    first, second = (json.loads(text) for _, text in sorted(unpacked(shared.read(uri)).items()))
    assert first["hps"] == {"epochs": "3", "name": '"adam"'}
    assert first["resources"]["hosts"] == second["resources"]["hosts"]
    assert first["resources"]["current_host"] != second["resources"]["current_host"]
    assert first["files"] == [
        "all/part/0.csv",
        "all/part/1.csv",
        "all/part/2.csv",
        "train/part/0.csv",
        "train/part/2.csv",
    ]
    assert second["files"][-1] == "train/part/1.csv"
    assert first["inputs"]["train"] == {
        "ContentType": "text/csv",
        "TrainingInputMode": "File",
        "S3DistributionType": "ShardedByS3Key",
        "RecordWrapperType": "None",
    }
    assert first["env"]["COLOUR"] == "blue"
    assert first["env"]["TRAINING_JOB_ARN"] == job["TrainingJobArn"]
    assert unpacked(shared.read(uri.replace("model.tar.gz", "output.tar.gz"))) == {"report.txt": "by 1"}
    assert [metric["MetricName"] for metric in job["FinalMetricDataList"]] == ["loss"]
    lines = shared.lines("/aws/sagemaker/TrainingJobs", f"{job['TrainingJobName']}/")
    assert sorted(stream.rpartition("-")[0] for stream in lines) == [
        f"{job['TrainingJobName']}/algo-1",
        f"{job['TrainingJobName']}/algo-2",
    ]
    assert any("loss=1.0;" in text for text in sum(lines.values(), []))
    assert all("stands in for the image" in texts[0] for texts in lines.values())
    metrics = shared.client("cloudwatch").list_metrics(Namespace="/aws/sagemaker/TrainingJobs", MetricName="loss")
    # Other jobs of the same rehearsal have such metrics too.
    dimensions = sum((metric["Dimensions"] for metric in metrics["Metrics"]), [])
    assert {"Name": "TrainingJobName", "Value": job["TrainingJobName"]} in dimensions


def test_the_failure_file_is_the_reason(train):
    job = train(PREPARE + "(base / 'output/failure').write_text('the moon is full'); sys.exit(3)")
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"] == "AlgorithmError: the moon is full, exit code: 3"
    assert job["SecondaryStatus"] == "Failed"
    assert "ModelArtifacts" not in job


def test_killed_is_137_and_takes_the_other_hosts_along(train):
    script = PREPARE + "os.kill(os.getpid(), signal.SIGKILL) if rank else time.sleep(500)"
    job = train(script, hosts=2)
    assert job["FailureReason"] == "AlgorithmError: , exit code: 137"


def test_missing_data_fails_the_job_by_its_uri(shared, train):
    bucket = shared.bucket()
    job = train("", bucket, InputDataConfig=[channel("train", f"s3://{bucket}/nothing/")])
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith(f"ClientError: No S3 objects found under s3://{bucket}/nothing/")


def test_a_stop_lets_it_save_and_sends_the_model(shared):
    bucket, name = shared.bucket(), f"job-{next(NUMBERS)}"
    script = (
        PREPARE
        + """
def leave(*_):
    (base / "model/late.txt").write_text("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("ready", flush=True)
time.sleep(500)
"""
    )
    shared.sagemaker.create_training_job(**job_request(shared, bucket, name, script))
    until(lambda: said(shared, name, "ready"), "the script is ready")
    shared.sagemaker.stop_training_job(TrainingJobName=name)
    job = ended(shared, name)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert unpacked(shared.read(job["ModelArtifacts"]["S3ModelArtifacts"])) == {"late.txt": "saved"}
    with pytest.raises(ClientError, match="is in status Stopped"):
        shared.sagemaker.stop_training_job(TrainingJobName=name)


def test_max_runtime_stops_it(train):
    started = time.monotonic()
    job = train("import time; time.sleep(500)", StoppingCondition={"MaxRuntimeInSeconds": 1})
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert time.monotonic() - started >= 1
    assert job["TrainingTimeInSeconds"] >= 1


def test_checkpoints_come_and_go_while_it_runs(shared):
    bucket, name = shared.bucket(**{"ckpt/old.txt": b"old", "ckpt/deep/kept.txt": b"kept"}), f"job-{next(NUMBERS)}"
    script = (
        PREPARE
        + """
folder = base / "checkpoints"
assert (folder / "deep/kept.txt").read_text() == "kept"
(folder / "old.txt").unlink()
(folder / "new.txt").write_text("new")
time.sleep(500)
"""
    )
    request = job_request(shared, bucket, name, script, CheckpointConfig={"S3Uri": f"s3://{bucket}/ckpt"})
    shared.sagemaker.create_training_job(**request)
    until(lambda: shared.keys(bucket, "ckpt") == ["ckpt/deep/kept.txt", "ckpt/new.txt"], "checkpoints in S3")
    shared.sagemaker.stop_training_job(TrainingJobName=name)
    assert ended(shared, name)["TrainingJobStatus"] == "Stopped"


def test_a_pipe_has_one_pass_in_each_fifo(shared, train):
    bucket = shared.bucket(**{"data/a": b"one,", "data/b": b"two;"})
    script = (
        PREPARE
        + """
first = (data / "train_0").read_text()
while not (data / "train_1").exists(): time.sleep(0.01)
(base / "model/passes.txt").write_text(first + (data / "train_1").read_text())
"""
    )
    job = train(script, bucket, InputDataConfig=[channel("train", f"s3://{bucket}/data/", InputMode="Pipe")])
    assert job["TrainingJobStatus"] == "Completed", job["FailureReason"]
    assert unpacked(shared.read(job["ModelArtifacts"]["S3ModelArtifacts"])) == {"passes.txt": "one,two;one,two;"}


def test_manifests_and_instance_groups_and_plain_trees(shared, train):
    bucket = shared.bucket(**{"x/a/1": b"1", "x/b/2": b"2"})
    shared.put(bucket, "manifest", json.dumps([{"prefix": f"s3://{bucket}/x/"}, "a/1"]).encode())
    data = channel("train", f"s3://{bucket}/manifest", kind="ManifestFile")
    data["DataSource"]["S3DataSource"]["InstanceGroupNames"] = ["readers"]
    groups = [
        {"InstanceGroupName": "others", "InstanceType": "ml.c5.xlarge", "InstanceCount": 1},
        {"InstanceGroupName": "readers", "InstanceType": "ml.m5.large", "InstanceCount": 1},
    ]
    script = (
        PREPARE
        + """
files = sorted(str(f.relative_to(data)) for f in data.rglob("*") if f.is_file() and f.parent.name != "code")
(base / "model" / resources["current_group_name"]).write_text(json.dumps(files))
"""
    )
    job = train(
        script,
        bucket,
        InputDataConfig=[data],
        ResourceConfig={"InstanceGroups": groups, "VolumeSizeInGB": 1},
        OutputDataConfig={"S3OutputPath": f"s3://{bucket}/plain", "CompressionType": "NONE"},
    )
    assert job["TrainingJobStatus"] == "Completed", job["FailureReason"]
    uri = job["ModelArtifacts"]["S3ModelArtifacts"]
    assert uri == f"s3://{bucket}/plain/{job['TrainingJobName']}/output/model/"
    assert json.loads(shared.read(f"{uri}others")) == []
    assert json.loads(shared.read(f"{uri}readers")) == ["train/a/1"]


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"RetryStrategy": {"MaximumRetryAttempts": 2}}, "RetryStrategy.MaximumRetryAttempts"),
        ({"StoppingCondition": {"MaxWaitTimeInSeconds": 9}}, "needs EnableManagedSpotTraining"),
        ({"EnableManagedSpotTraining": True}, "at least MaxRuntimeInSeconds"),
        ({"ResourceConfig": {"InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}}, "InstanceCount"),
    ],
)
def test_what_would_not_work_is_refused_by_name(shared, fields, match):
    request = job_request(shared, shared.bucket(), f"job-{next(NUMBERS)}", "", **fields)
    with pytest.raises(ClientError, match=match):
        shared.sagemaker.create_training_job(**request)


def test_jobs_are_listed_in_pages_and_deleted(shared, train):
    names = [train("")["TrainingJobName"] for _ in range(3)]
    pages = shared.sagemaker.get_paginator("list_training_jobs").paginate(
        NameContains="job-", SortBy="CreationTime", SortOrder="Ascending", PaginationConfig={"PageSize": 2}
    )
    found = [job["TrainingJobName"] for page in pages for job in page["TrainingJobSummaries"]]
    assert [name for name in found if name in names] == names
    with pytest.raises(ClientError, match="ResourceInUse"):
        shared.sagemaker.create_training_job(**job_request(shared, shared.bucket(), names[0], ""))
    shared.sagemaker.delete_training_job(TrainingJobName=names[0])
    with pytest.raises(shared.sagemaker.exceptions.ResourceNotFound):
        shared.sagemaker.describe_training_job(TrainingJobName=names[0])


def said(rehearsal, name, text):
    job = rehearsal.sagemaker.describe_training_job(TrainingJobName=name)
    if job["SecondaryStatus"] != "Training":
        return False
    lines = rehearsal.lines("/aws/sagemaker/TrainingJobs", f"{name}/")
    return any(text in line for texts in lines.values() for line in texts)


def test_a_running_job_is_not_deleted(shared):
    name = f"job-{next(NUMBERS)}"
    shared.sagemaker.create_training_job(**job_request(shared, shared.bucket(), name, "import time; time.sleep(500)"))
    secondary(shared, name, "Training")
    with pytest.raises(ClientError, match="Stop it first"):
        shared.sagemaker.delete_training_job(TrainingJobName=name)
    shared.sagemaker.stop_training_job(TrainingJobName=name)
    ended(shared, name)


def test_a_reclaimed_spot_job_goes_on_from_its_checkpoint(shared):
    """Twice; the script counts its starts in its checkpoint, and ends by itself at the third."""
    bucket, name = shared.bucket(), f"job-{next(NUMBERS)}"
    script = (
        PREPARE
        + """
counter = base / "checkpoints/starts"
starts = int(counter.read_text()) + 1 if counter.exists() else 1
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
counter.write_text(str(starts))
print(f"start {starts}", flush=True)
if starts < 3: time.sleep(500)
(base / "model/starts").write_text(str(starts))
"""
    )
    shared.sagemaker.create_training_job(
        **job_request(
            shared,
            bucket,
            name,
            script,
            EnableManagedSpotTraining=True,
            StoppingCondition={"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 600},
            CheckpointConfig={"S3Uri": f"s3://{bucket}/spot/"},
        )
    )
    for start in (1, 2):
        until(lambda start=start: said(shared, name, f"start {start}"), f"start {start}")
        assert "reclaimed the instances" in fault(shared, "reclaim", name)
    job = ended(shared, name)
    assert job["TrainingJobStatus"] == "Completed", job["FailureReason"]
    assert unpacked(shared.read(job["ModelArtifacts"]["S3ModelArtifacts"])) == {"starts": "3"}
    statuses = [step["Status"] for step in job["SecondaryStatusTransitions"]]
    assert statuses[1:] == ["Starting", "Downloading", "Training", "Interrupted"] * 2 + [
        "Starting",
        "Downloading",
        "Training",
        "Uploading",
        "Completed",
    ]


def test_faults_hit_one_host_and_only_what_can_have_them(shared):
    name = f"job-{next(NUMBERS)}"
    script = "import time; print('ready', flush=True); time.sleep(500)"
    shared.sagemaker.create_training_job(**job_request(shared, shared.bucket(), name, script, hosts=2))
    until(lambda: said(shared, name, "ready"), "it runs")
    assert "has no spot instances" in fault(shared, "reclaim", name, expect=1)
    assert "there is no host 3" in fault(shared, "kill", name, "--host", "3", expect=1)
    fault(shared, "kill", name, "--host", "2")
    assert ended(shared, name)["FailureReason"] == "AlgorithmError: , exit code: 137"
    assert "No training job or endpoint" in fault(shared, "kill", "nothing", expect=1)


def fault(rehearsal, *arguments, expect=0):
    done = subprocess.run(
        [sys.executable, "-m", "twofold", "rehearse", "fault", *arguments, "--address", rehearsal.address],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr
