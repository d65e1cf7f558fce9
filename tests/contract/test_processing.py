"""A processing job as the platform describes it."""

import json

import pytest
from twofold.contract.paths import Paths
from twofold.contract.processing import read_processing_job
from twofold.errors import ConfigError

INPUT, OUTPUT = "/opt/ml/processing/input/data", "/opt/ml/processing/output/data"


def make_job(base, *, host="algo-1", hosts=("algo-1",), distribution="ShardedByS3Key", mode="File"):
    paths = Paths(base)
    paths.processing_config.mkdir(parents=True)
    local = {"LocalPath": INPUT, "S3Uri": "s3://b/in", "S3DataDistributionType": distribution, "S3InputMode": mode}
    code = {"LocalPath": "/opt/ml/processing/input/code", "S3Uri": "s3://b/code"}
    job = {
        "ProcessingInputs": [{"InputName": "input-1", "S3Input": local}, {"InputName": "code", "S3Input": code}],
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": {"LocalPath": OUTPUT}}]},
    }
    (paths.processing_config / "processingjobconfig.json").write_text(json.dumps(job))
    cluster = {"current_host": host, "hosts": list(hosts)}
    paths.processing_resource_config.write_text(json.dumps(cluster))
    for folder in (INPUT, OUTPUT):
        (base / folder.removeprefix("/opt/ml/")).mkdir(parents=True)
    return base / INPUT.removeprefix("/opt/ml/"), base / OUTPUT.removeprefix("/opt/ml/")


def test_inputs_and_outputs_are_the_platforms(tmp_path):
    source, target = make_job(tmp_path, hosts=("algo-1", "algo-2"))
    job = read_processing_job(Paths(tmp_path))
    assert (job.input, job.output) == (source, target)
    assert job.is_sharded(source / "below")
    assert job.cluster.size == 2


def test_no_job_outside_of_one(tmp_path):
    assert read_processing_job(Paths(tmp_path)) is None


def test_pipe_mode_is_refused(tmp_path):
    make_job(tmp_path, mode="Pipe")
    with pytest.raises(ConfigError, match="Expected File"):
        read_processing_job(Paths(tmp_path))
