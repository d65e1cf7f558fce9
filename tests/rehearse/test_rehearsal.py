"""Start, end and restart of a rehearsal; what is refused; what is left behind: nothing."""

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import pytest
from botocore.exceptions import ClientError

from .conftest import IMAGE, NUMBERS, ROLE, archive, ask, channel, job_request, secondary, until

SLEEPER = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import time; time.sleep(500)'])"


def marked(state):
    """Processes that this state's rehearsals have started and that still run."""
    mark = f"TWOFOLD_REHEARSAL={(state / 'id').read_text()}:".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and mark in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def folders(rehearsal):
    """Temporary folders of rehearsals below the same place."""
    return set(rehearsal.log.parent.glob("twofold-*"))


@pytest.fixture
def running(rehearse):
    """A rehearsal with a job whose script has a child."""
    rehearsal, name = rehearse("--backend", "process", "--grace", "1"), f"job-{next(NUMBERS)}"
    rehearsal.sagemaker.create_training_job(**job_request(rehearsal, rehearsal.bucket(), name, SLEEPER))
    secondary(rehearsal, name, "Training")
    until(lambda: len(marked(rehearsal.state)) >= 2, "the script and its child run")
    return rehearsal, name


def test_stopping_ends_what_it_started_and_nothing_else(running):
    rehearsal, _ = running
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert rehearsal.stop() == 0
        assert marked(rehearsal.state) == []
        assert other.poll() is None
        other.communicate(b"\n")
    assert not folders(rehearsal), "its folder is gone"


@pytest.mark.slow
def test_a_killed_one_is_swept_by_the_next_and_its_job_has_failed(running, rehearse):
    rehearsal, name = running
    rehearsal.stop(signal.SIGKILL)
    assert len(marked(rehearsal.state)) >= 2
    left = folders(rehearsal)
    assert len(left) == 2, "that of the rehearsal and the temporary one of the job"
    other = rehearse("--backend", "process", TMPDIR=str(rehearsal.log.parent))
    assert len(marked(rehearsal.state)) >= 2, "another rehearsal leaves them alone"
    again = rehearse("--backend", "process", state=rehearsal.state, TMPDIR=str(rehearsal.log.parent))
    assert marked(rehearsal.state) == []
    assert not left & folders(rehearsal)
    job = again.sagemaker.describe_training_job(TrainingJobName=name)
    assert job["TrainingJobStatus"] == "Failed"
    assert "the rehearsal ended" in job["FailureReason"]
    assert other.stop() == again.stop() == 0
    assert not folders(rehearsal)


@pytest.mark.slow
def test_resources_and_objects_outlive_a_rehearsal_and_endpoints_come_back(rehearse, serve_path):
    first = rehearse("--backend", "process", "--grace", "5")
    bucket = first.bucket(**{"in/x": b"kept", "gone": b"1"})
    first.client("s3").put_object(Bucket=bucket, Key="typed", Body=b"{}", ContentType="application/json")
    first.client("s3").delete_object(Bucket=bucket, Key="gone")
    first.put(bucket, "model.tar.gz", archive(word_txt="kept"))
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{bucket}/model.tar.gz", "Environment": {"PATH": serve_path}}
    first.sagemaker.create_model(ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    variant = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    first.sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
    first.sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")
    in_service(first, "e")
    assert first.stop() == 0
    assert marked(first.state) == []
    second = rehearse("--backend", "process", "--grace", "5", state=first.state)
    assert second.keys(bucket) == ["in/x", "model.tar.gz", "typed"]
    assert second.read(f"s3://{bucket}/in/x") == b"kept"
    typed = second.client("s3").head_object(Bucket=bucket, Key="typed")
    assert typed["ContentType"] == "application/json"
    in_service(second, "e")
    assert ask(second, "e")[0]["word"] == "kept"
    second.sagemaker.delete_model(ModelName="m")
    assert second.stop() == 0


def in_service(rehearsal, name):
    until(
        lambda: rehearsal.sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "InService",
        f"{name} in service",
    )


def test_two_on_one_state_do_not_run(shared):
    done = subprocess.run(
        [sys.executable, "-m", "twofold.rehearse", "--port", "0", "--backend", "process", "--state", str(shared.state)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "Another rehearsal runs on" in done.stderr


def test_a_taken_port_is_named(shared, tmp_path):
    port = shared.address.rpartition(":")[2]
    done = subprocess.run(
        [sys.executable, "-m", "twofold.rehearse", "--port", port, "--backend", "process", "--state", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert f"Port {port} of 127.0.0.1 cannot be had" in done.stderr


def test_operations_and_services_that_are_not_rehearsed_are_refused(shared):
    with pytest.raises(ClientError, match="CreateDomain is not rehearsed") as refused:
        shared.sagemaker.create_domain(DomainName="d", AuthMode="IAM", DefaultUserSettings={})
    assert refused.value.response["Error"]["Code"] == "NotRehearsed"
    with pytest.raises(ClientError, match="service 'lambda' is not rehearsed"):
        shared.client("lambda").list_functions()
    with pytest.raises(ClientError, match="simulate_principal_policy action has not been implemented") as refused:
        shared.client("iam").simulate_principal_policy(PolicySourceArn=ROLE, ActionNames=["s3:GetObject"])
    assert refused.value.response["Error"]["Code"] == "NotRehearsed"
    assert shared.client("sts").get_caller_identity()["Account"] == "123456789012"


def test_a_stream_in_both_directions_is_refused_by_name(shared):
    request = urllib.request.Request(
        f"{shared.address}/endpoints/e/invocations-bidirectional-stream",
        data=b"",
        headers={"Authorization": "AWS4-HMAC-SHA256 Credential=x/20261126/us-east-1/sagemaker/aws4_request"},
    )
    with pytest.raises(HTTPError) as refused:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30)
    assert refused.value.headers["x-amzn-ErrorType"] == "NotRehearsed"
    assert "InvokeEndpointWithBidirectionalStream is not rehearsed" in refused.value.read().decode()


def test_values_are_held_against_the_service_model(shared):
    request = job_request(shared, shared.bucket(), f"job-{next(NUMBERS)}", "")
    request["InputDataConfig"].append(channel("b:d", "s3://b/k", "Sharded"))
    request["ResourceConfig"]["InstanceType"] = "ml.m5.lage"
    request["HyperParameters"] = {"x": "y" * 2501}
    with pytest.raises(ClientError) as refused:
        shared.sagemaker.create_training_job(**request)
    text = str(refused.value)
    assert "4 validation errors" in text
    assert "InputDataConfig[1].ChannelName is 'b:d', expected the form" in text
    assert "expected one of ShardedByS3Key" in text
    assert "ResourceConfig.InstanceType is 'ml.m5.lage', expected one of ml.m5.large" in text
    assert "HyperParameters['x'] has 2501 characters, expected at most 2500" in text


def test_the_command_leads_here():
    done = subprocess.run(
        [sys.executable, "-m", "twofold", "rehearse", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=dict(os.environ),
    )
    assert "runs what is created" in done.stdout
