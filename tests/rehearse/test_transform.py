"""Batch transforms with a small server of our own in place of `serve`."""

import gzip
import json
import sys

import pytest
from botocore.exceptions import ClientError
from twofold.formats import recordio

from .conftest import IMAGE, NUMBERS, ROLE, until

# Answers each line with the number of its characters; as JSON Lines when that is asked for. Tells of itself on `who`.
SERVER = f"""#!{sys.executable}
import http.server, json, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def say(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        if self.path == "/ping": return self.say(200, b"")
        text = os.environ.get("PARAMETERS", "")
        self.say(200 if text else 404, text.encode())
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        os.write(1, b"request of %d bytes\\n" % len(body))  # whole, whatever other threads write
        if b"bad" in body: return self.say(400, b"a bad record")
        if body == b"who": return self.say(200, json.dumps(dict(os.environ)).encode())
        lines = body.decode("latin-1").splitlines() or [""]
        form = "{{{{\\"score\\": %d}}}}" if self.headers.get("Accept") == "application/jsonlines" else "%d"
        form = form.replace("{{{{", "{{").replace("}}}}", "}}")
        self.say(200, "\\n".join(form % len(line) for line in lines).encode())

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def model(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bin")
    (folder / "serve").write_text(SERVER)
    (folder / "serve").chmod(0o755)

    def make(**environ):
        name = f"model-{next(NUMBERS)}"
        container = {"Image": IMAGE, "Environment": {"PATH": str(folder), **environ}}
        shared.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
        return name

    return make


@pytest.fixture
def transform(shared, model):
    """Transform objects of a bucket with the prefix `in/`, and return the job and what is under `out/`."""

    def run(bucket, *, content="text/csv", split="Line", accept=None, assemble="Line", instances=1, **fields):
        name = f"transform-{next(NUMBERS)}"
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/in/"}}
        environ = fields.pop("model_environ", {})
        shared.sagemaker.create_transform_job(
            TransformJobName=name,
            ModelName=model(**environ),
            TransformInput={
                "DataSource": source,
                "ContentType": content,
                "SplitType": split,
                "CompressionType": fields.pop("compression", "None"),
            },
            TransformOutput={
                "S3OutputPath": f"s3://{bucket}/out",
                "AssembleWith": assemble,
                **({"Accept": accept} if accept else {}),
            },
            TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": instances},
            **fields,
        )

        def look():
            job = shared.sagemaker.describe_transform_job(TransformJobName=name)
            return job["TransformJobStatus"] not in ("InProgress", "Stopping") and job

        job = until(look, f"end of {name}")
        return job, {key: shared.read(f"s3://{bucket}/{key}") for key in shared.keys(bucket, "out/")}

    return run


def requests_of(shared, job):
    lines = shared.lines("/aws/sagemaker/TransformJobs", f"{job['TransformJobName']}/")
    return [line for texts in lines.values() for line in texts if line.startswith("request of")]


def test_lines_become_requests_and_answers_lines(shared, transform):
    bucket = shared.bucket(**{"in/a/1.csv": b"1\n22\n333\n", "in/2.csv": b"4444"})
    job, found = transform(bucket, BatchStrategy="MultiRecord")
    assert job["TransformJobStatus"] == "Completed", job["FailureReason"]
    assert found == {"out/a/1.csv.out": b"1\n2\n3\n", "out/2.csv.out": b"4\n"}
    assert len(requests_of(shared, job)) == 2
    job, found = transform(bucket, BatchStrategy="SingleRecord", instances=2)
    assert found["out/a/1.csv.out"] == b"1\n2\n3\n"
    assert len(requests_of(shared, job)) == 4


def test_objects_whole_and_records_of_recordio(shared, transform):
    bucket = shared.bucket(**{"in/x": gzip.compress(b"one\ntwo\n")})
    _, found = transform(bucket, split="None", assemble="None", compression="Gzip")
    assert found == {"out/x.out": b"3\n3"}
    bucket = shared.bucket(**{"in/x": recordio.frame(b"12345") + recordio.frame(b"1")})
    _, found = transform(bucket, split="RecordIO", BatchStrategy="SingleRecord")
    assert found == {"out/x.out": b"5\n1\n"}


def test_the_container_says_how_many_requests_and_what_kind(shared, transform):
    bucket = shared.bucket(**{"in/x": b"1\n22\n"})
    parameters = json.dumps({"MaxConcurrentTransforms": 2, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 1})
    job, found = transform(bucket, model_environ={"PARAMETERS": parameters})
    assert found == {"out/x.out": b"1\n2\n"}
    assert len(requests_of(shared, job)) == 2


def test_the_container_knows_what_was_asked(shared, transform):
    bucket = shared.bucket(**{"in/x": b"who"})
    _, found = transform(bucket, split="None", MaxPayloadInMB=5, Environment={"MINE": "1"})
    environ = json.loads(found["out/x.out"])
    assert environ["SAGEMAKER_BATCH"] == "true"
    assert (environ["SAGEMAKER_MAX_PAYLOAD_IN_MB"], environ["MINE"]) == ("5", "1")
    assert "SAGEMAKER_BATCH_STRATEGY" not in environ


def test_filters_and_join_work_on_each_record(shared, transform):
    bucket = shared.bucket(**{"in/x.csv": b"id1,22\nid2,333\n"})
    processing = {"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"}
    job, found = transform(bucket, DataProcessing=processing, accept="text/csv")
    assert job["TransformJobStatus"] == "Completed", job["FailureReason"]
    assert found == {"out/x.csv.out": b"id1,2\nid2,3\n"}
    bucket = shared.bucket(**{"in/x.jsonl": b'{"id": 1, "text": "abc"}\n'})
    kind = "application/jsonlines"
    processing = {"InputFilter": "$.text", "JoinSource": "Input"}
    _, found = transform(bucket, content=kind, accept=kind, DataProcessing=processing)
    assert json.loads(found["out/x.jsonl.out"]) == {"id": 1, "text": "abc", "SageMakerOutput": {"score": 5}}


def test_a_bad_record_loses_its_object_only(shared, transform):
    bucket = shared.bucket(**{"in/bad": b"bad\n", "in/good": b"1\n"})
    job, found = transform(bucket, ModelClientConfig={"InvocationsMaxRetries": 1})
    assert job["TransformJobStatus"] == "Failed"
    assert "in/bad: the model answered 400 Bad Request: a bad record" in job["FailureReason"]
    assert list(found) == ["out/good.out"]
    assert len(requests_of(shared, job)) == 3


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"MaxConcurrentTransforms": 20, "MaxPayloadInMB": 6}, "is 120, expected at most 100"),
        ({"DataProcessing": {"InputFilter": "$[["}}, "cannot be read"),
        ({"DataProcessing": {"InputFilter": "$"}, "content": "image/png"}, "with the type 'image/png'"),
    ],
)
def test_what_cannot_work_is_refused(shared, transform, fields, match):
    with pytest.raises(ClientError, match=match):
        transform(shared.bucket(), **fields)
