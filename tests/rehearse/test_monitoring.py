"""Monitoring schedules over the captured data of an endpoint."""

import json
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError
from croniter import croniter
from twofold.errors import ApiError
from twofold.rehearse.monitoring import cron, window

from .conftest import IMAGE, NUMBERS, ROLE, ask, until

SCRIPT = """
import json, os, pathlib
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
source = pathlib.Path(os.environ["dataset_source"])
lines = [line for file in source.rglob("*.jsonl") for line in file.read_text().splitlines()]
names = ["start_time", "end_time", "sagemaker_endpoint_name", "publish_cloudwatch_metrics"]
seen = {"lines": len(lines), "files": sorted(str(f.relative_to(source)) for f in source.rglob("*.jsonl"))}
seen |= {name: os.environ[name] for name in names}
seen["baseline"] = pathlib.Path(os.environ["baseline_constraints"]).read_text()
(pathlib.Path(os.environ["output_path"]) / "statistics.json").write_text(json.dumps(seen))
(base / "output/message").write_text("CompletedWithViolations: 1 violation")
metrics = base / "output/metrics/cloudwatch"
metrics.mkdir(parents=True)
(metrics / "cloudwatch_metrics.jsonl").write_text(json.dumps({"MetricName": "drift", "Value": 0.5, "Unit": "None",
  "Dimensions": [{"Name": "Endpoint", "Value": os.environ["sagemaker_endpoint_name"]}]}))
"""


def definition(bucket, endpoint):
    output = {"S3Uri": f"s3://{bucket}/reports", "LocalPath": "/opt/ml/processing/result", "S3UploadMode": "EndOfJob"}
    return {
        "BaselineConfig": {"ConstraintsResource": {"S3Uri": f"s3://{bucket}/baseline/constraints.json"}},
        "MonitoringInputs": [
            {"EndpointInput": {"EndpointName": endpoint, "LocalPath": "/opt/ml/processing/endpointdata"}}
        ],
        "MonitoringOutputConfig": {"MonitoringOutputs": [{"S3Output": output}]},
        "MonitoringResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
        "MonitoringAppSpecification": {
            "ImageUri": IMAGE,
            "ContainerEntrypoint": ["python3", "-c", "import os, pathlib; exec(os.environ['SCRIPT'])"],
        },
        "RoleArn": ROLE,
    }


def test_a_schedule_runs_a_container_on_the_captured_hours(shared, make):
    bucket = shared.bucket(**{"baseline/constraints.json": b"constraints"})
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{bucket}/captured",
        "CaptureOptions": [{"CaptureMode": "Input"}],
    }
    endpoint = make.endpoint("one", DataCaptureConfig=capture)
    for _ in range(3):
        ask(shared, endpoint)

    def captured():
        keys = shared.keys(bucket, "captured/")
        return sum(len(shared.read(f"s3://{bucket}/{key}").splitlines()) for key in keys) == 3

    until(captured, "three captured calls")
    name = f"schedule-{next(NUMBERS)}"
    monitored = definition(bucket, endpoint)
    # The environment of a monitoring job takes 256 characters a variable: the script comes in pieces.
    pieces = [SCRIPT[first : first + 250] for first in range(0, len(SCRIPT), 250)]
    monitored["Environment"] = {f"S{number:02d}": piece for number, piece in enumerate(pieces)}
    monitored["MonitoringAppSpecification"]["ContainerEntrypoint"][-1] = (
        "import os; exec(''.join(v for k, v in sorted(os.environ.items()) if len(k) == 3 and k[0] == 'S'))"
    )
    shared.sagemaker.create_monitoring_schedule(
        MonitoringScheduleName=name,
        MonitoringScheduleConfig={
            "ScheduleConfig": {
                "ScheduleExpression": "NOW",
                "DataAnalysisStartTime": "-PT2H",
                "DataAnalysisEndTime": "-PT0H",
            },
            "MonitoringJobDefinition": monitored,
        },
    )

    def done():
        found = shared.sagemaker.list_monitoring_executions(MonitoringScheduleName=name)
        return [e for e in found["MonitoringExecutionSummaries"] if e["MonitoringExecutionStatus"] != "InProgress"]

    (execution,) = until(done, "one execution")
    assert execution["MonitoringExecutionStatus"] == "CompletedWithViolations", execution
    (key,) = shared.keys(bucket, f"reports/{endpoint}/{name}/")
    seen = json.loads(shared.read(f"s3://{bucket}/{key}"))
    assert (seen["lines"], seen["baseline"], seen["sagemaker_endpoint_name"]) == (3, "constraints", endpoint)
    assert all(file.startswith(f"{endpoint}/v0/") for file in seen["files"])
    start, end = (
        datetime.strptime(seen[k], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC) for k in ("start_time", "end_time")
    )
    assert (end - start).total_seconds() == 7200
    metrics = shared.client("cloudwatch").list_metrics(Namespace="/aws/sagemaker/Endpoint/data-metrics")["Metrics"]
    assert [metric["MetricName"] for metric in metrics] == ["drift"]
    last = shared.sagemaker.describe_monitoring_schedule(MonitoringScheduleName=name)
    assert last["LastMonitoringExecutionSummary"]["MonitoringExecutionStatus"] == "CompletedWithViolations"
    shared.sagemaker.delete_monitoring_schedule(MonitoringScheduleName=name)


def test_a_schedule_waits_is_stopped_and_deleted(shared, make):
    bucket, name = shared.bucket(), f"schedule-{next(NUMBERS)}"
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{bucket}/captured",
        "CaptureOptions": [{"CaptureMode": "Input"}],
    }
    endpoint = make.endpoint("one", DataCaptureConfig=capture)
    monitored = definition(bucket, endpoint)
    config = {"ScheduleConfig": {"ScheduleExpression": "cron(0 3 ? * * *)"}, "MonitoringJobDefinition": monitored}
    sagemaker = shared.sagemaker
    sagemaker.create_monitoring_schedule(MonitoringScheduleName=name, MonitoringScheduleConfig=config)
    assert (
        sagemaker.describe_monitoring_schedule(MonitoringScheduleName=name)["MonitoringScheduleStatus"] == "Scheduled"
    )
    sagemaker.stop_monitoring_schedule(MonitoringScheduleName=name)
    sagemaker.start_monitoring_schedule(MonitoringScheduleName=name)
    assert sagemaker.list_monitoring_executions(MonitoringScheduleName=name)["MonitoringExecutionSummaries"] == []
    sagemaker.delete_monitoring_schedule(MonitoringScheduleName=name)
    with pytest.raises(ClientError, match="Could not find"):
        sagemaker.describe_monitoring_schedule(MonitoringScheduleName=name)


def test_a_window_is_the_hour_before_or_what_offsets_say():
    moment = datetime(2026, 1, 2, 10, 30, tzinfo=UTC)
    hourly, once = {"ScheduleExpression": "cron(0 * ? * * *)"}, {"ScheduleExpression": "NOW"}
    assert [part.hour for part in window(hourly, moment)] == [9, 10]
    assert [part.isoformat()[11:16] for part in window(once, moment)] == ["09:30", "10:30"]
    daily = {**hourly, "DataAnalysisStartTime": "-P1D", "DataAnalysisEndTime": "-PT2H"}
    assert [(part.day, part.hour) for part in window(daily, moment)] == [(1, 10), (2, 8)]
    with pytest.raises(ApiError, match="expected one such as -PT1H"):
        window({**once, "DataAnalysisStartTime": "yesterday"}, moment)


def test_cron_is_that_of_the_platform():
    moments = croniter(cron("cron(0 * ? * * *)"), datetime(2026, 1, 1, 0, 30, tzinfo=UTC), ret_type=datetime)
    assert moments.get_next() == datetime(2026, 1, 1, 1, tzinfo=UTC)
    for broken in ("cron(0 * ? * * 2026)", "every hour", "cron(99 * ? * * *)"):
        with pytest.raises(ApiError, match="expected NOW, or hours or days"):
            cron(broken)
