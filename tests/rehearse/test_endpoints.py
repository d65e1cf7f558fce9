"""Endpoints with a small server of our own in place of `serve`, asked through boto3's runtime client."""

import json
import threading
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from .conftest import NUMBERS, ask, until


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
    words = [ask(shared, name)[0]["word"] for _ in range(100)]
    assert 1 <= words.count("small") <= 35
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


def test_serverless_has_its_limits(shared, make, tmp_path):
    serverless = {"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}
    name = make.endpoint("one", variants=[serverless])
    assert ask(shared, name)[0]["word"] == "one"
    with pytest.raises(ClientError, match="expected at most 4194304"):
        ask(shared, name, b"x" * (4 << 20) + b"x")
    released, used_up = tmp_path / "released", "MaxConcurrency of 1 is used up"

    def taken(body):
        """Whether the one container took a request, and did not refuse it for another."""
        try:
            return bool(ask(shared, name, body))
        except ClientError as error:
            if used_up not in str(error):
                raise
            return False

    holding = threading.Thread(target=until, args=(lambda: taken(b"hold %s" % bytes(released)), "a request that holds"))
    holding.start()
    until(lambda: not taken(b"hello"), "a second one at once is refused")
    released.touch()
    holding.join()
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
    with pytest.raises(ClientError, match="Inference-Component is not rehearsed"):
        ask(shared, name, InferenceComponentName="c")
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
