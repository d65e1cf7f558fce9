"""The rehearsal on a Docker engine: real containers of the image behind plain boto3."""

import io
from pathlib import Path

import numpy as np
import pytest
from twofold.rehearse.disk import may_mount

from ..rehearse.conftest import ROLE, Rehearsal, archive, ask, channel, ended, until
from ..rehearse.test_training import fault
from .conftest import left


def csv(array):
    text = io.StringIO()
    np.savetxt(text, array, fmt="%.6g", delimiter=",")
    return text.getvalue().encode()


def rows(count, seed):
    random = np.random.default_rng(seed)
    kind = np.arange(count) % 3
    return np.column_stack([kind, np.eye(3)[kind] * 4 + random.normal(size=(count, 3))])


def training(image, bucket, **fields):
    return {
        "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/jobs"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        **fields,
    }


def test_two_containers_train_and_one_serves(rehearsal, image):
    bucket = rehearsal.bucket(**{"training/a.csv": csv(rows(200, 0)), "training/b.csv": csv(rows(200, 1))})
    sagemaker = rehearsal.sagemaker
    sagemaker.create_training_job(
        TrainingJobName="two-hosts",
        HyperParameters={"epochs": "2", "batch_size": "32", "learning_rate": "0.05", "model": "linear"},
        InputDataConfig=[channel("training", f"s3://{bucket}/training/", "ShardedByS3Key", ContentType="text/csv")],
        **training(image, bucket),
    )
    job = ended(rehearsal, "two-hosts")
    lines = rehearsal.lines("/aws/sagemaker/TrainingJobs", "two-hosts/")
    assert job["TrainingJobStatus"] == "Completed", (job.get("FailureReason"), lines)
    assert any("host algo-2 (2 of 2)" in line for texts in lines.values() for line in texts)
    container = {"Image": image, "ModelDataUrl": job["ModelArtifacts"]["S3ModelArtifacts"]}
    sagemaker.create_model(ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    kinds = {
        "ordinary": {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1},
        "serverless": {"ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 2}},
    }
    held = rows(30, 3)
    for name, kind in kinds.items():
        variant = {"VariantName": "all", "ModelName": "m", **kind}
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)

        def steady(name=name):
            found = sagemaker.describe_endpoint(EndpointName=name)
            return found["EndpointStatus"] != "Creating" and found

        found = until(steady, name)
        assert found["EndpointStatus"] == "InService", found
        answer, _ = ask(rehearsal, name, csv(held[:, 1:]), ContentType="text/csv", Accept="application/json")
        assert (np.argmax(answer["predictions"], axis=1) == held[:, 0]).mean() > 0.8
        sagemaker.delete_endpoint(EndpointName=name)
    until(lambda: not sagemaker.list_endpoints()["Endpoints"], "the endpoints are gone")
    assert left(rehearsal) == ([], [])


# Hosts start one after another: a name may be there a little later. An argument has at most 256 characters.
# The second host goes when the first one has found it: with it goes its name.
FIND_PEER = """
import os, socket as s, urllib.request as u
me = s.gethostname()
if me == "algo-2": s.create_server(("", 7000)).accept()
found = me == "algo-2"
while not found:
    try: found = s.create_connection(("algo-2", 7000))
    except OSError: pass
"""
ASK_S3 = "e = os.environ.get('AWS_ENDPOINT_URL'); print('S3', u.urlopen(e + '/_none').status if e else 'none')"


def test_a_container_finds_its_peer_and_s3_unless_it_is_isolated(rehearsal, image):
    bucket = rehearsal.bucket(x=b"1")
    command = ["python3", "-c", "import sys; exec(sys.argv[1]); exec(sys.argv[2])", FIND_PEER, ASK_S3]
    for name, isolated in (("open", False), ("isolated", True)):
        request = training(image, bucket, EnableNetworkIsolation=isolated)
        request["AlgorithmSpecification"] |= {"ContainerEntrypoint": command}
        sagemaker = rehearsal.sagemaker
        sagemaker.create_training_job(TrainingJobName=name, **request)
        job = ended(rehearsal, name)
        texts = [
            line for lines in rehearsal.lines("/aws/sagemaker/TrainingJobs", f"{name}/").values() for line in lines
        ]
        if isolated:
            assert job["TrainingJobStatus"] == "Completed", (job, texts)
            assert "S3 none" in texts
        else:
            # The address answers: no bucket of that name.
            assert any("404" in line for line in texts), texts


def test_a_killed_rehearsal_is_swept_and_a_missing_image_is_named(image, tmp_path):
    first = Rehearsal(tmp_path / "state", tmp_path / "first.log", "--backend", "docker")
    request = training(image, first.bucket())
    request["AlgorithmSpecification"] |= {"ContainerEntrypoint": ["sleep", "500"]}
    first.sagemaker.create_training_job(TrainingJobName="sleeps", **request)
    until(lambda: len(left(first)[0]) == 2, "two containers")
    first.process.kill()
    first.process.wait(60)
    first.process.stdout.close()
    second = Rehearsal(tmp_path / "state", tmp_path / "second.log", "--backend", "docker")
    assert left(second) == ([], [])
    assert second.sagemaker.describe_training_job(TrainingJobName="sleeps")["TrainingJobStatus"] == "Failed"
    second.sagemaker.create_training_job(TrainingJobName="no-image", **training("nothing:here", second.bucket()))
    assert "The engine has no image 'nothing:here'" in ended(second, "no-image")["FailureReason"]
    assert second.stop() == 0
    assert left(second) == ([], [])


FILL = "open('/opt/ml/checkpoints/a','wb').write(bytes(1<<20)); open('/opt/ml/checkpoints/b','wb').write(bytes(9<<20))"


def test_a_small_disk_is_full_in_a_container(rehearsal, image):
    may = may_mount()
    said = fault(rehearsal, "small-disk", "4", expect=0 if may else 1)
    if not may:
        assert "run the rehearsal as root" in said
        return
    bucket = rehearsal.bucket()
    request = training(image, bucket, CheckpointConfig={"S3Uri": f"s3://{bucket}/checkpoints"})
    request["AlgorithmSpecification"] |= {"ContainerEntrypoint": ["python3", "-c", FILL]}
    rehearsal.sagemaker.create_training_job(TrainingJobName="full", **request)
    assert ended(rehearsal, "full")["FailureReason"] == "AlgorithmError: , exit code: 1"
    for lines in rehearsal.lines("/aws/sagemaker/TrainingJobs", "full/").values():
        assert lines[-1] == "OSError: [Errno 28] No space left on device"
    assert "checkpoints/a" in rehearsal.keys(bucket)
    fault(rehearsal, "small-disk", "0")


ECHO = "def model_fn(folder): return 1\ndef predict_fn(rows, model): return rows\n"


@pytest.mark.timeout(1200)
def test_twenty_endpoints_come_and_go_and_leave_nothing(rehearsal, image):
    bucket, sagemaker = rehearsal.bucket(), rehearsal.sagemaker
    rehearsal.put(bucket, "echo.tar.gz", archive(**{"code/inference_py": ECHO}))
    container = {"Image": image, "ModelDataUrl": f"s3://{bucket}/echo.tar.gz"}
    variant = {"VariantName": "v", "ModelName": "echo", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_model(ModelName="echo", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    sagemaker.create_endpoint_config(EndpointConfigName="echo", ProductionVariants=[variant])

    def threads():
        return len(list(Path(f"/proc/{rehearsal.process.pid}/task").iterdir()))

    def come_and_go():
        sagemaker.create_endpoint(EndpointName="echo", EndpointConfigName="echo")
        sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="echo", WaiterConfig={"Delay": 1})
        assert ask(rehearsal, "echo", b"[[1]]", ContentType="application/json")[0] == [[1]]
        sagemaker.delete_endpoint(EndpointName="echo")
        sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="echo", WaiterConfig={"Delay": 1})

    come_and_go()
    before = threads()
    for _ in range(20):
        come_and_go()
    until(lambda: threads() <= before + 2, "the threads have ended")
    assert left(rehearsal) == ([], [])
    assert not list(rehearsal.log.parent.glob("twofold-*/endpoints/*"))
