"""A rehearsal as a user starts it, a process of its own, and clients of plain boto3 that know only its address.

rehearse    rehearse("--grace", 2, state=folder) -> Rehearsal, stopped after the session if it still runs
sagemaker   the one that most tests share
train       train(script, hosts=2, ...) -> description of a training job of a small script, once it has ended
"""

import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import textwrap
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

    def __init__(self, state, log, *options, **environ):
        self.state, self.log = state, log
        self._clients = {}
        with log.open("ab") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "twofold.rehearse", "--port=0", f"--state={state}", *map(str, options)],
                stdout=subprocess.PIPE,
                stderr=sink,
                text=True,
                env={**os.environ, "TMPDIR": str(log.parent), **environ},
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
                config=Config(proxies={}, retries={"total_max_attempts": 1}, read_timeout=90),
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

    def start(*options, state=None, **environ):
        folder = tmp_path_factory.mktemp("rehearse")
        started.append(Rehearsal(state or folder / "state", folder / "rehearse.log", *options, **environ))
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


# Finds the verb `serve` on the PATH that the model's environment names. Answers with what it was sent and who it is.
SERVER = f"""#!{sys.executable}
import http.server, json, os, pathlib, signal, sys, time
word = (pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"]) / "model/word.txt").read_text()
if word == "dies": sys.exit(7)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
print("serving", word, flush=True)

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def say(self, status, body, **headers):
        self.send_response(status)
        for name, value in headers.items(): self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self): self.say(200 if self.path == "/ping" else 404, b"")
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if body == b"bad": return self.say(400, b"no such thing", Content_Type="text/plain")
        if body.startswith(b"hold "):
            while not os.path.exists(body[5:]): time.sleep(0.01)
        if body == b"die": os._exit(9)
        if body == b"stream":
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in (b"one ", b"two ", b"three"): self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(piece), piece))
            return self.wfile.write(b"0\\r\\n\\r\\n")
        said = {{"word": word, "pid": os.getpid(), "body": body.decode(), "headers": dict(self.headers)}}
        kept = {{"X_Amzn_SageMaker_Custom_Attributes": "kept"}}
        self.say(200, json.dumps(said).encode(), Content_Type="application/json", **kept)

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""


@pytest.fixture(scope="session")
def serve_path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bin")
    (folder / "serve").write_text(textwrap.dedent(SERVER))
    (folder / "serve").chmod(0o755)
    return str(folder)


def archive(**files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name.replace("_", "."))
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def make(shared, serve_path):
    """Make models, configs and endpoints; what is left is deleted after the module."""
    made = []

    class Make:
        bucket = shared.bucket()

        def model(self, word):
            name = f"model-{next(NUMBERS)}"
            shared.put(self.bucket, f"{name}.tar.gz", archive(word_txt=word))
            shared.sagemaker.create_model(
                ModelName=name,
                ExecutionRoleArn=ROLE,
                PrimaryContainer={
                    "Image": IMAGE,
                    "ModelDataUrl": f"s3://{self.bucket}/{name}.tar.gz",
                    "Environment": {"PATH": serve_path},
                },
            )
            return name

        def config(self, *words, variants=(), **fields):
            name = f"config-{next(NUMBERS)}"
            found = [
                {
                    "VariantName": f"v{index}",
                    "ModelName": self.model(word),
                    **(
                        {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
                        if not variants or "ServerlessConfig" not in variants[index]
                        else {}
                    ),
                    **(variants[index] if variants else {}),
                }
                for index, word in enumerate(words)
            ]
            shared.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=found, **fields)
            return name

        def endpoint(self, *words, status="InService", **fields):
            name = f"endpoint-{next(NUMBERS)}"
            self.create(name, self.config(*words, **fields), status)
            return name

        def create(self, name, config, status="InService"):
            shared.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
            made.append(name)
            self.wait(name, status)

        def wait(self, name, status="InService"):
            def look():
                endpoint = shared.sagemaker.describe_endpoint(EndpointName=name)
                return endpoint["EndpointStatus"] not in ("Creating", "Updating", "SystemUpdating") and endpoint

            endpoint = until(look, f"{name} is steady")
            assert endpoint["EndpointStatus"] == status, endpoint
            return endpoint

        def delete(self, name):
            made.remove(name)
            shared.sagemaker.delete_endpoint(EndpointName=name)
            until(
                lambda: name not in [e["EndpointName"] for e in shared.sagemaker.list_endpoints()["Endpoints"]],
                f"{name} is gone",
            )

    yield Make()
    for name in made[:]:
        Make().delete(name)


def ask(shared, name, body=b"hello", **fields):
    answer = shared.client("sagemaker-runtime").invoke_endpoint(EndpointName=name, Body=body, **fields)
    return json.loads(answer["Body"].read()), answer
