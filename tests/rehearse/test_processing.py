"""Processing jobs of small scripts."""

import gzip
import json

import pytest
from botocore.exceptions import ClientError

from .conftest import IMAGE, NUMBERS, ROLE, until

HEAD = """
import json, os, pathlib, signal, sys, time
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
host = json.loads((base / "config/resourceconfig.json").read_text())
rank = sorted(host["hosts"]).index(host["current_host"])
data, out = base / "processing/input/data", base / "processing/output"
"""


def s3_input(name, uri, **fields):
    where = {"S3Uri": uri, "LocalPath": f"/opt/ml/processing/input/{name}", "S3DataType": "S3Prefix"}
    return {"InputName": name, "S3Input": {**where, "S3InputMode": "File", **fields}}


def request(shared, bucket, script, *inputs, hosts=1, mode="EndOfJob", **fields):
    name = f"processing-{next(NUMBERS)}"
    shared.put(bucket, f"code/{name}/script.py", (HEAD + script).encode())
    output = {"S3Uri": f"s3://{bucket}/out", "LocalPath": "/opt/ml/processing/output", "S3UploadMode": mode}
    return {
        "ProcessingJobName": name,
        "AppSpecification": {
            "ImageUri": IMAGE,
            "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/code/script.py"],
            "ContainerArguments": ["--folder", "/opt/ml/processing/input"],
        },
        "RoleArn": ROLE,
        "ProcessingInputs": [s3_input("code", f"s3://{bucket}/code/{name}/"), *inputs],
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": output}]},
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": hosts, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
        **fields,
    }


@pytest.fixture
def process(shared):
    def run(*arguments, **fields):
        asked = request(shared, *arguments, **fields)
        shared.sagemaker.create_processing_job(**asked)
        return ended(shared, asked["ProcessingJobName"])

    return run


def ended(shared, name):
    def look():
        job = shared.sagemaker.describe_processing_job(ProcessingJobName=name)
        return job["ProcessingJobStatus"] not in ("InProgress", "Stopping") and job

    return until(look, f"end of {name}")


def test_hosts_share_inputs_and_outputs_are_merged(shared, process):
    bucket = shared.bucket(**{f"in/{number}.txt.gz": gzip.compress(b"%d" % number) for number in range(3)})
    script = """
files = sorted(f.name for f in data.iterdir())
(out / f"{rank}.json").write_text(json.dumps([files, sys.argv[1:], os.environ["KIND"], os.environ["PLACE"]]))
(base / "output/message").write_text(f"host {rank} is done. ")
"""
    data = s3_input("data", f"s3://{bucket}/in/", S3DataDistributionType="ShardedByS3Key", S3CompressionType="Gzip")
    job = process(bucket, script, data, hosts=2, Environment={"KIND": "test", "PLACE": "/opt/ml/processing/input"})
    assert job["ProcessingJobStatus"] == "Completed", job["FailureReason"]
    assert job["ExitMessage"] == "host 0 is done. host 1 is done. "
    files, arguments, kind, place = json.loads(shared.read(f"s3://{bucket}/out/0.json"))
    assert (files, kind) == (["0.txt", "2.txt"], "test")
    assert arguments[0] == "--folder"
    assert arguments[1].endswith("/processing/input")
    assert place == arguments[1]
    assert json.loads(shared.read(f"s3://{bucket}/out/1.json"))[0] == ["1.txt"]
    assert len(shared.lines("/aws/sagemaker/ProcessingJobs", f"{job['ProcessingJobName']}/")) == 2


def test_it_fails_by_exit_code_and_by_a_message_that_is_no_text(shared, process):
    job = process(shared.bucket(), "(base / 'output/message').write_text('too bad'); sys.exit(4)")
    assert (job["ProcessingJobStatus"], job["ExitMessage"]) == ("Failed", "too bad")
    assert job["FailureReason"] == "AlgorithmError: , exit code: 4"
    job = process(shared.bucket(), "(base / 'output/message').write_bytes(b'\\xff')")
    assert job["ProcessingJobStatus"] == "Failed"
    assert "is not UTF-8" in job["FailureReason"]


def test_outputs_come_while_it_runs_and_a_stop_is_sigint(shared):
    bucket = shared.bucket()
    script = """
def leave(*_):
    (out / "left").write_text("by SIGINT")
    sys.exit(0)
signal.signal(signal.SIGINT, leave)
(out / "early").write_text("1")
time.sleep(500)
"""
    asked = request(shared, bucket, script, mode="Continuous")
    shared.sagemaker.create_processing_job(**asked)
    until(lambda: shared.keys(bucket, "out/") == ["out/early"], "an output while it runs")
    shared.sagemaker.stop_processing_job(ProcessingJobName=asked["ProcessingJobName"])
    assert ended(shared, asked["ProcessingJobName"])["ProcessingJobStatus"] == "Stopped"
    assert shared.read(f"s3://{bucket}/out/left") == b"by SIGINT"


def test_paths_outside_and_pipes_are_refused(shared):
    bucket = shared.bucket()
    asked = request(shared, bucket, "", s3_input("data", f"s3://{bucket}/in/", LocalPath="/data"))
    with pytest.raises(ClientError, match="does not begin with /opt/ml/processing/"):
        shared.sagemaker.create_processing_job(**asked)
    asked = request(shared, bucket, "", s3_input("data", f"s3://{bucket}/in/", S3InputMode="Pipe"))
    with pytest.raises(ClientError, match="Pipe of processing jobs is not rehearsed"):
        shared.sagemaker.create_processing_job(**asked)
