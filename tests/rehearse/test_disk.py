"""Training jobs on disks that become full. Only root may mount them: anybody else sees that said."""

import json
from pathlib import Path

import pytest
from twofold.errors import ApiError
from twofold.rehearse import disk
from twofold.rehearse.weather import Weather

from .conftest import NUMBERS, archive, ended, job_request
from .test_lifecycle import make_bucket, training
from .test_training import fault

FILL = """
import os, pathlib
folder = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"]) / "checkpoints"
(folder / "first").write_bytes(bytes(1 << 20))
try:
    (folder / "second").write_bytes(bytes(8 << 20))
except OSError as error:
    print(error.strerror, flush=True)
(folder / "second").unlink()
"""


FILL_ALL = """
import os, pathlib
with (pathlib.Path(os.environ["SM_MODEL_DIR"]) / "all").open("wb", buffering=0) as file:
    while True:
        file.write(bytes(512))
"""


@pytest.fixture(scope="module")
def rehearsal(rehearse):
    """A rehearsal of its own: the fault hits all jobs. No disk is left mounted."""
    started = rehearse("--backend", "process", "--grace", 5)
    yield started
    assert started.stop() == 0
    assert str(started.log.parent) not in Path("/proc/self/mountinfo").read_text()


@pytest.fixture
def small_disk(rehearsal):
    """small_disk(4) -> whether there is such a disk now."""

    def make(megabytes):
        may = disk.may_mount()
        said = fault(rehearsal, "small-disk", str(megabytes), expect=0 if may else 1)
        assert (f"a disk of {megabytes} MB" if may else "run the rehearsal as root") in said
        return may

    yield make
    fault(rehearsal, "small-disk", "0")


def checkpoints(bucket):
    return {"S3Uri": f"s3://{bucket}/checkpoints", "LocalPath": "/opt/ml/checkpoints"}


def lines(rehearsal, name):
    (found,) = rehearsal.lines("/aws/sagemaker/TrainingJobs", f"{name}/").values()
    return found


def test_who_may_not_mount_is_told(monkeypatch):
    monkeypatch.setattr(disk, "may_mount", lambda: False)
    with pytest.raises(ApiError, match="run the rehearsal as root"):
        Weather().change("small-disk", 4)
    assert "the disk of this machine" in Weather().change("small-disk", 0)


def test_a_job_finds_its_disk_full_and_what_it_has_written_stays(rehearsal, small_disk):
    bucket, name = rehearsal.bucket(), f"job-{next(NUMBERS)}"
    if not small_disk(4):
        return
    request = job_request(rehearsal, bucket, name, FILL, CheckpointConfig=checkpoints(bucket))
    rehearsal.sagemaker.create_training_job(**request)
    assert ended(rehearsal, name)["TrainingJobStatus"] == "Completed"
    assert "No space left on device" in lines(rehearsal, name)
    assert rehearsal.keys(bucket, "checkpoints/") == ["checkpoints/first"]


def test_data_that_has_no_room_fails_the_download(rehearsal, small_disk):
    bucket, name = rehearsal.bucket(), f"job-{next(NUMBERS)}"
    if not small_disk(1):
        return
    rehearsal.put(bucket, f"code/{name}/more", bytes(2 << 20))
    rehearsal.sagemaker.create_training_job(**job_request(rehearsal, bucket, name, "print('no')"))
    job = ended(rehearsal, name)
    assert job["FailureReason"] == ("ClientError: Data download failed: no space left on device. Raise VolumeSizeInGB.")


def test_a_script_that_leaves_no_byte_free_still_fails_with_its_reason(rehearsal, small_disk):
    bucket, name = rehearsal.bucket(**{"code.tar.gz": archive(fill_py=FILL_ALL)}), f"job-{next(NUMBERS)}"
    if not small_disk(4):
        return
    asked = {"sagemaker_program": "fill.py", "sagemaker_submit_directory": f"s3://{bucket}/code.tar.gz"}
    settings = {key: json.dumps(value) for key, value in asked.items()}
    request = training(bucket)
    del request["InputDataConfig"]
    rehearsal.sagemaker.create_training_job(TrainingJobName=name, HyperParameters=settings, **request)
    assert "No space left on device" in ended(rehearsal, name)["FailureReason"]


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [20, 14])
def test_our_own_train_loses_a_checkpoint_or_says_that_its_model_has_no_room(rehearsal, small_disk, megabytes):
    """A checkpoint has 12 MB, weights and two moments; the model 4."""
    bucket, name = make_bucket(rehearsal), f"job-{next(NUMBERS)}"
    if not small_disk(megabytes):
        return
    settings = {
        "model": "mlp",
        "hidden": "[1000, 1000]",
        "epochs": "1",
        "batch_size": "32",
        "checkpoint_every": "5",
        "export_onnx": "false",
    }
    rehearsal.sagemaker.create_training_job(
        TrainingJobName=name, HyperParameters=settings, CheckpointConfig=checkpoints(bucket), **training(bucket)
    )
    job = ended(rehearsal, name)
    said = "\n".join(lines(rehearsal, name))
    assert "no checkpoint at step 10, earlier ones stay" in said
    assert "No space left on device" in said
    kept = rehearsal.keys(bucket, "checkpoints/")
    assert any(key.endswith("complete.json") for key in kept), kept
    if megabytes == 20:
        assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    else:
        assert job["TrainingJobStatus"] == "Failed"
        assert "VolumeSizeInGB" in job["FailureReason"]
