"""Endpoints with a small server of our own in place of `serve`, asked through boto3's runtime client."""

import io
import json
import sys
import tarfile
import textwrap
import threading
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from .conftest import IMAGE, NUMBERS, ROLE, until

# Finds the verb `serve` on the PATH that the model's environment names. Answers with what it was sent and who it is.
SERVER = f"""#!{sys.executable}
import http.server, json, os, pathlib, signal, sys, time
word = (pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"]) / "model/word.txt").read_text()
if word == "dies": sys.exit(7)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
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
        if body == b"slow": time.sleep(1)
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


@pytest.fixture(scope="module")
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
            config = self.config(*words, **fields)
            shared.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
            made.append(name)
            self.wait(name, status)
            return name

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


def test_a_request_comes_to_the_container_and_its_answer_back(shared, make):
    name = make.endpoint("one")
    said, answer = ask(shared, name, ContentType="text/csv", Accept="application/json", CustomAttributes="mine")
    assert (said["word"], said["body"]) == ("one", "hello")
    assert said["headers"]["Content-Type"] == "text/csv"
    assert said["headers"]["X-Amzn-Sagemaker-Custom-Attributes"] == "mine"
    assert (answer["InvokedProductionVariant"], answer["ContentType"]) == ("v0", "application/json")
    assert answer["CustomAttributes"] == "kept"
    with pytest.raises(ClientError) as failed:
        ask(shared, name, b"bad")
    error = failed.value.response
    assert (error["Error"]["Code"], error["OriginalStatusCode"], error["OriginalMessage"]) == (
        "ModelError",
        400,
        "no such thing",
    )
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 424
    until(lambda: shared.lines(f"/aws/sagemaker/Endpoints/{name}", "v0/"), "its log")
    (texts,) = until(
        lambda: [t for t in shared.lines(f"/aws/sagemaker/Endpoints/{name}", "v0/").values() if "serving one" in t],
        "its lines",
    )
    assert "stands in for the image" in texts[0]
    until(
        lambda: shared.client("cloudwatch").list_metrics(
            Namespace="AWS/SageMaker", Dimensions=[{"Name": "EndpointName", "Value": name}]
        )["Metrics"],
        "its metrics",
    )


def test_a_stock_client_reads_the_stream(shared, make):
    name = make.endpoint("one")
    runtime = shared.client("sagemaker-runtime")
    answer = runtime.invoke_endpoint_with_response_stream(EndpointName=name, Body=b"stream")
    assert b"".join(event["PayloadPart"]["Bytes"] for event in answer["Body"]) == b"one two three"
    assert answer["ContentType"] == "text/plain"
    with pytest.raises(ClientError, match="no such thing"):
        runtime.invoke_endpoint_with_response_stream(EndpointName=name, Body=b"bad")


def test_weights_share_out_requests_and_a_target_wins(shared, make):
    weights = [{"InitialVariantWeight": 0.9}, {"InitialVariantWeight": 0.1}]
    name = make.endpoint("big", "small", variants=weights)
    words = [ask(shared, name)[0]["word"] for _ in range(300)]
    # Five standard deviations of a binomial of 300 at 0.1 on either side of 30.
    assert 4 <= words.count("small") <= 56
    assert ask(shared, name, TargetVariant="v1")[0]["word"] == "small"
    with pytest.raises(ClientError, match="'v9' is none of v0, v1"):
        ask(shared, name, TargetVariant="v9")
    shared.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=name,
        DesiredWeightsAndCapacities=[
            {"VariantName": "v0", "DesiredWeight": 0.0},
            {"VariantName": "v1", "DesiredWeight": 1.0, "DesiredInstanceCount": 2},
        ],
    )
    described = make.wait(name)
    assert described["ProductionVariants"][1]["CurrentInstanceCount"] == 2
    answers = [ask(shared, name)[0] for _ in range(20)]
    assert {answer["word"] for answer in answers} == {"small"}


def test_a_dead_container_is_started_again(shared, make):
    name = make.endpoint("one")
    before = ask(shared, name)[0]["pid"]
    with pytest.raises(ClientError, match="no answer"):
        ask(shared, name, b"die")

    def other():
        try:
            return ask(shared, name)[0]["pid"] != before
        except ClientError:
            return False

    until(other, "another process answers")


def test_an_update_switches_without_a_gap_and_rolls_back(shared, make):
    name = make.endpoint("old")
    shared.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=make.config("new"))
    words = []

    def updated():
        words.append(ask(shared, name)[0]["word"])
        return shared.sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "InService"

    until(updated, "the update")
    assert words[0] == "old"
    assert ask(shared, name)[0]["word"] == "new"
    shared.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=make.config("dies"))
    described = make.wait(name)
    assert "ended 3 times before it was healthy, at last with exit code 7" in described["FailureReason"]
    assert ask(shared, name)[0]["word"] == "new"


def test_an_endpoint_that_never_is_healthy_has_failed(shared, make):
    name = make.endpoint("dies", status="Failed")
    assert "exit code 7" in shared.sagemaker.describe_endpoint(EndpointName=name)["FailureReason"]
    with pytest.raises(ClientError, match="no variant in service"):
        ask(shared, name)


def test_data_capture_writes_json_lines_by_the_hour(shared, make):
    bucket = shared.bucket()
    name = make.endpoint(
        "one",
        DataCaptureConfig={
            "EnableCapture": True,
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": f"s3://{bucket}/captured",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
        },
    )
    ask(shared, name, b"1,2", ContentType="text/csv", InferenceId="mine")
    (key, *_) = until(lambda: shared.keys(bucket, f"captured/{name}/v0/"), "captured data")
    assert len(key.split("/")) == 8
    (line,) = shared.read(f"s3://{bucket}/{key}").decode().splitlines()
    event = json.loads(line)
    assert event["captureData"]["endpointInput"] == {
        "observedContentType": "text/csv",
        "mode": "INPUT",
        "data": "1,2",
        "encoding": "CSV",
    }
    assert event["captureData"]["endpointOutput"]["encoding"] == "BASE64"
    assert event["eventMetadata"]["inferenceId"] == "mine"


def test_asynchronous_answers_become_objects_and_notices(shared, make):
    bucket = shared.bucket(**{"in/good": b"1,2", "in/bad": b"bad"})
    sns, sqs = shared.client("sns"), shared.client("sqs")
    queue = sqs.create_queue(QueueName=f"queue-{next(NUMBERS)}")["QueueUrl"]
    topic = sns.create_topic(Name=f"topic-{next(NUMBERS)}")["TopicArn"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn)
    output = {
        "S3OutputPath": f"s3://{bucket}/out",
        "S3FailurePath": f"s3://{bucket}/failed",
        "NotificationConfig": {"SuccessTopic": topic, "ErrorTopic": topic},
    }
    name = make.endpoint("one", AsyncInferenceConfig={"OutputConfig": output})
    runtime = shared.client("sagemaker-runtime")
    good, bad = (
        runtime.invoke_endpoint_async(
            EndpointName=name, InputLocation=f"s3://{bucket}/in/{key}", ContentType="text/csv", InferenceId=key
        )
        for key in ("good", "bad")
    )
    assert (good["ResponseMetadata"]["HTTPStatusCode"], good["InferenceId"]) == (202, "good")
    until(lambda: len(shared.keys(bucket, "out/") + shared.keys(bucket, "failed/")) == 2, "both objects")
    assert json.loads(shared.read(good["OutputLocation"]))["body"] == "1,2"
    assert shared.read(bad["FailureLocation"]) == b"no such thing"
    told = {}

    def both():
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            notice = json.loads(json.loads(message["Body"])["Message"])
            told[notice["inferenceId"]] = notice["invocationStatus"]
        return len(told) == 2

    until(both, "both notices")
    assert told == {"good": "Completed", "bad": "Failed"}
    with pytest.raises(ClientError, match="InvokeEndpointAsync"):
        ask(shared, name)


def test_serverless_has_its_limits(shared, make):
    serverless = {"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}
    name = make.endpoint("one", variants=[serverless])
    assert ask(shared, name)[0]["word"] == "one"
    with pytest.raises(ClientError, match="expected at most 4194304"):
        ask(shared, name, b"x" * (4 << 20) + b"x")
    slow = threading.Thread(target=ask, args=(shared, name, b"slow"))
    slow.start()

    def refused():
        try:
            ask(shared, name)
        except ClientError as error:
            return "MaxConcurrency of 1 is used up" in str(error)
        return not slow.is_alive()

    until(refused, "a second one at once is refused")
    slow.join()
    with pytest.raises(ClientError, match="expected 1024, 2048"):
        make.config("one", variants=[{"ServerlessConfig": {"MemorySizeInMB": 1500, "MaxConcurrency": 1}}])


def test_what_is_not_there_or_not_rehearsed_is_said(shared, make):
    with pytest.raises(ClientError, match="was not found"):
        ask(shared, "nowhere")
    with pytest.raises(ClientError, match="Could not find Model 'nothing'"):
        shared.sagemaker.create_endpoint_config(
            EndpointConfigName="c",
            ProductionVariants=[
                {"VariantName": "v", "ModelName": "nothing", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
            ],
        )
    name = make.endpoint("one")
    with pytest.raises(ClientError, match="Target-Model is not rehearsed"):
        ask(shared, name, TargetModel="m.tar.gz")
    with pytest.raises(ClientError, match="RetainAllVariantProperties"):
        shared.sagemaker.update_endpoint(
            EndpointName=name, EndpointConfigName=make.config("one"), RetainAllVariantProperties=True
        )


def test_tags_are_kept(shared, make):
    arn = shared.sagemaker.describe_model(ModelName=make.model("one"))["ModelArn"]
    shared.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    shared.sagemaker.delete_tags(ResourceArn=arn, TagKeys=["a"])
    assert shared.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "b", "Value": "2"}]


def test_a_deleted_endpoint_leaves_no_process(shared, make):
    name = make.endpoint("one")
    pid = ask(shared, name)[0]["pid"]
    make.delete(name)
    assert not Path(f"/proc/{pid}/cmdline").exists()
