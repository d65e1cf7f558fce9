"""A spot job of `train` whose two hosts are reclaimed at random moments, beside the same job that nobody disturbs."""

import io
import json
import random
import re
import tarfile

import pytest
from safetensors.numpy import load

from .conftest import NUMBERS, archive, ended, until
from .test_lifecycle import make_bucket, training
from .test_training import fault

SEED = 20_261_126
EPOCHS = 40
# Thirteen steps an epoch: however fast the machine is, the run is long enough to be reclaimed in its middle.
SLOW_NET = """
import time
import torch

class Slow(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Dropout(0.2))
        self.head = torch.nn.Linear(8, 3)

    def forward(self, rows):
        if self.training:
            time.sleep(0.01)
        return self.head(self.layers(rows))

def build():
    return Slow()
"""


@pytest.fixture(scope="module")
def start(shared):
    """Start a job on two hosts; the same settings each time, and checkpoints of its own."""
    bucket = make_bucket(shared)
    shared.put(bucket, "source.tar.gz", archive(net_py=SLOW_NET))

    def start_job():
        name = f"spot-{next(NUMBERS)}"
        asked = {
            "model": "net:build",
            "epochs": EPOCHS,
            "batch_size": 32,
            "learning_rate": 0.01,
            "checkpoint_every": 20,
        }
        asked |= {"export_onnx": False, "sagemaker_submit_directory": f"s3://{bucket}/source.tar.gz"}
        request = training(bucket, hosts=2)
        request["StoppingCondition"]["MaxWaitTimeInSeconds"] = 600
        shared.sagemaker.create_training_job(
            TrainingJobName=name,
            HyperParameters={
                key: value if isinstance(value, str) else json.dumps(value) for key, value in asked.items()
            },
            EnableManagedSpotTraining=True,
            CheckpointConfig={"S3Uri": f"s3://{bucket}/checkpoints/{name}"},
            **request,
        )
        return name

    return start_job


def weights(shared, job):
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    with tarfile.open(fileobj=io.BytesIO(shared.read(job["ModelArtifacts"]["S3ModelArtifacts"]))) as tar:
        return load(tar.extractfile("weights.safetensors").read())


def lines(shared, name):
    return [line for texts in shared.lines("/aws/sagemaker/TrainingJobs", f"{name}/").values() for line in texts]


def epoch(shared, name):
    """The last epoch that it has told of."""
    found = [int(number) for line in lines(shared, name) for number in re.findall(r"\bepoch=(\d+) ", line)]
    return max(found, default=0)


@pytest.mark.slow
def test_reclaimed_twice_its_weights_are_those_of_the_unbroken_run(shared, start):
    whole = weights(shared, ended(shared, start()))
    name, chance = start(), random.Random(SEED)
    for first, last in ((2, 12), (16, 30)):
        moment = chance.randint(first, last)
        until(lambda moment=moment: epoch(shared, name) >= moment, f"epoch {moment}")
        assert "reclaimed" in fault(shared, "reclaim", name)
    job = ended(shared, name)
    broken = weights(shared, job)
    assert [step["Status"] for step in job["SecondaryStatusTransitions"]].count("Interrupted") == 2
    resumed = {int(step) for line in lines(shared, name) for step in re.findall(r"resuming at step (\d+)", line)}
    assert len(resumed) == 2, "it went on, and did not begin again"
    assert whole.keys() == broken.keys()
    assert all((whole[key] == broken[key]).all() for key in whole)
