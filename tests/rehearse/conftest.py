"""A rehearsal as a user starts it, a process of its own, and clients of plain boto3 that know only its address.

rehearse    rehearse("--grace", 2, state=folder) -> Rehearsal, stopped after the session if it still runs
sagemaker   the one that most tests share
train       train(script, hosts=2, ...) -> description of a training job of a small script, once it has ended
"""

import os
import re
import signal
import subprocess
import sys
import time
from itertools import count

import boto3
import pytest
from botocore.config import Config

DEADLINE = 120
ROLE = "arn:aws:iam::123456789012:role/service-role/rehearsal"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/twofold:cpu"
NUMBERS = count(1)


def until(condition, what, seconds=DEADLINE):
    """Poll until a condition holds, and fail when it does not in time."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)


class Rehearsal:
    """`twofold rehearse` in a process, and boto3 clients of it."""

    def __init__(self, state, log, *options):
        self.state, self.log = state, log
        self._clients = {}
        with log.open("ab") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "twofold.rehearse", "--port=0", f"--state={state}", *map(str, options)],
                stdout=subprocess.PIPE,
                stderr=sink,
                text=True,
                env={**os.environ, "TMPDIR": str(log.parent)},
            )
        lines = iter(self.process.stdout.readline, "")
        self.address = next(
            (match[1] for line in lines if (match := re.search(r"export AWS_ENDPOINT_URL=(\S+)", line))), None
        )
        assert self.address, f"did not start:\n{log.read_text()}"

    def client(self, name):
        if name not in self._clients:
            self._clients[name] = boto3.client(
                name,
                endpoint_url=self.address,
                region_name="us-east-1",
                aws_access_key_id="rehearse",
                aws_secret_access_key="rehearse",
                config=Config(proxies={}, retries={"total_max_attempts": 1}, read_timeout=150),
            )
        return self._clients[name]

    @property
    def sagemaker(self):
        return self.client("sagemaker")

    def bucket(self, **objects):
        """A new bucket with objects."""
        name = f"bucket-{next(NUMBERS)}-{os.getpid()}"
        self.client("s3").create_bucket(Bucket=name)
        for key, body in objects.items():
            self.put(name, key, body)
        return name

    def put(self, bucket, key, body):
        self.client("s3").put_object(Bucket=bucket, Key=key, Body=body)

    def read(self, uri):
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return self.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()

    def keys(self, bucket, prefix=""):
        found = self.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix)
        return sorted(item["Key"] for item in found.get("Contents", []))

    def lines(self, group, prefix):
        """Log lines by stream."""
        logs = self.client("logs")
        streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=prefix)["logStreams"]
        return {
            stream["logStreamName"]: [
                event["message"]
                for event in logs.get_log_events(
                    logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True
                )["events"]
            ]
            for stream in streams
        }

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        code = self.process.wait(DEADLINE)
        self.process.stdout.close()
        return code


@pytest.fixture(scope="session")
def rehearse(tmp_path_factory):
    started = []

    def start(*options, state=None):
        folder = tmp_path_factory.mktemp("rehearse")
        started.append(Rehearsal(state or folder / "state", folder / "rehearse.log", *options))
        return started[-1]

    yield start
    for rehearsal in started:
        if rehearsal.process.poll() is None:
            rehearsal.stop()


@pytest.fixture(scope="session")
def shared(rehearse):
    """The rehearsal that most tests share: each has names of its own."""
    return rehearse("--backend", "process", "--grace", 20)


def job_request(rehearsal, bucket, name, script, *, hosts=1, **fields):
    """A training job that runs a small Python script, from a channel of its own, on each of its hosts."""
    rehearsal.put(bucket, f"code/{name}/job.py", script.encode())
    channels = [*fields.pop("InputDataConfig", []), channel("code", f"s3://{bucket}/code/{name}/")]
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python3", "/opt/ml/input/data/code/job.py"],
        },
        "RoleArn": ROLE,
        "InputDataConfig": channels,
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": hosts, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        **fields,
    }


def channel(name, uri, distribution="FullyReplicated", kind="S3Prefix", **fields):
    source = {"S3DataType": kind, "S3Uri": uri, "S3DataDistributionType": distribution}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, **fields}


@pytest.fixture
def train(shared):
    """Run a job of a small script to its end."""

    def run(script, bucket=None, **fields):
        bucket = bucket or shared.bucket()
        name = f"job-{next(NUMBERS)}"
        algorithm = fields.pop("algorithm", {})
        request = job_request(shared, bucket, name, script, **fields)
        request["AlgorithmSpecification"].update(algorithm)
        shared.sagemaker.create_training_job(**request)
        return ended(shared, name)

    return run


def ended(rehearsal, name):
    def look():
        job = rehearsal.sagemaker.describe_training_job(TrainingJobName=name)
        return job["TrainingJobStatus"] not in ("InProgress", "Stopping") and job

    return until(look, f"end of {name}")


def secondary(rehearsal, name, status):
    """Wait until a job is or was in a secondary status."""

    def look():
        job = rehearsal.sagemaker.describe_training_job(TrainingJobName=name)
        return status in [step["Status"] for step in job["SecondaryStatusTransitions"]] and job

    return until(look, f"{name} in {status}")
