"""A processing job as the platform describes it."""

import pytest
from twofold.contract.paths import Paths
from twofold.contract.processing import read_processing_job
from twofold.errors import ConfigError


def test_inputs_and_outputs_are_the_platforms(tmp_path, make_job):
    source, target = make_job(tmp_path, hosts=("algo-1", "algo-2"))
    job = read_processing_job(Paths(tmp_path))
    assert (job.input, job.output) == (source, target)
    assert job.is_sharded(source / "below")
    assert job.cluster.size == 2


def test_no_job_outside_of_one(tmp_path):
    assert read_processing_job(Paths(tmp_path)) is None


def test_pipe_mode_is_refused(tmp_path, make_job):
    make_job(tmp_path, mode="Pipe")
    with pytest.raises(ConfigError, match="Expected File"):
        read_processing_job(Paths(tmp_path))
