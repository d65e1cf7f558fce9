"""The environment of a monitoring job."""

import pytest
from twofold.contract.paths import Paths
from twofold.errors import ConfigError
from twofold.monitor.job import read_job

BASE = {
    "dataset_format": '{"sagemakerCaptureJson": {"captureIndexNames": ["endpointInput", "endpointOutput"]}}',
    "dataset_source": "/opt/ml/processing/endpointdata",
    "output_path": "/opt/ml/processing/resultdata",
    "start_time": "2019-12-01T15: 20: 00Z",
    "end_time": "2019-12-01T16:20:00Z",
    "publish_cloudwatch_metrics": "Disabled",
    "sagemaker_endpoint_name": "e",
    "baseline_constraints": "/opt/ml/processing/baseline/constraints/constraints.json",
    "baseline_statistics": "/opt/ml/processing/baseline/stats/statistics.json",
}


def test_everything_is_read(tmp_path):
    job = read_job(Paths(tmp_path), BASE)
    assert job.source == tmp_path / "processing" / "endpointdata"
    assert job.output == tmp_path / "processing" / "resultdata"
    assert (job.window.start, job.window.end) == ("2019-12-01T15:20:00", "2019-12-01T16:20:00")
    assert job.constraints == tmp_path / "processing" / "baseline" / "constraints" / "constraints.json"
    assert (job.captured, job.publish_metrics, job.endpoint, job.schedule) == (True, False, "e", None)
    assert job.cluster.size == 1


def test_plain_data(tmp_path):
    for form in ('{"csv": {"header": "true"}}', '{"json": {"line": true}}', '{"parquet": {}}'):
        assert not read_job(Paths(tmp_path), {**BASE, "dataset_format": form}).captured


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dataset_source": ""}, "dataset_source is not there"),
        ({"baseline_statistics": ""}, "baseline_constraints is given and baseline_statistics is not"),
        ({"dataset_format": "csv"}, "dataset_format is 'csv'"),
        ({"dataset_format": '{"xml": {}}'}, "dataset_format is"),
        ({"problem_type": "Ranking"}, "problem_type is 'Ranking'"),
        ({"start_time": "noon"}, "start_time is 'noon'"),
    ],
)
def test_what_is_broken_is_named(tmp_path, changed, message):
    with pytest.raises(ConfigError, match=message):
        read_job(Paths(tmp_path), {**BASE, **changed})
