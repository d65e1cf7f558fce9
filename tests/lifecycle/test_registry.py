"""The gate and the registry: metrics of the very weights, packages with what belongs to them, deployment by ARN."""

import gzip
import json

import pytest
from twofold.formats.table import MEDIA_TYPES, WRITTEN
from twofold.lifecycle import registering

from ..rehearse.conftest import IMAGE


def test_a_package_names_only_types_that_the_image_takes():
    assert set(registering.TAKES) <= set(MEDIA_TYPES)
    assert set(registering.ANSWERS) <= set(WRITTEN)


@pytest.mark.slow
def test_a_model_is_registered_with_metrics_and_baseline_approved_and_deployed_by_arn(project):
    project.init()
    job = project.trained(0.25)
    arn = project.run("register", "--commit", "0123abc").last
    package = project.rehearsal.sagemaker.describe_model_package(ModelPackageName=arn)
    assert package["ModelApprovalStatus"] == "PendingManualApproval"
    assert package["InferenceSpecification"]["Containers"][0]["Image"] == IMAGE
    assert package["CustomerMetadataProperties"] == {"validation:loss": "0.25", "validation:rmse": "1.0"}
    assert package["MetadataProperties"]["CommitId"] == "0123abc"
    assert package["MetadataProperties"]["GeneratedBy"].endswith(job)
    measured = package["ModelMetrics"]
    evaluation = json.loads(project.rehearsal.read(measured["ModelQuality"]["Statistics"]["S3Uri"]))
    assert evaluation["regression_metrics"]["rmse"]["value"] == 1.0
    for name in ("Statistics", "Constraints"):
        place = package["DriftCheckBaselines"]["ModelDataQuality"][name]["S3Uri"]
        assert measured["ModelDataQuality"][name]["S3Uri"] == place
        assert project.rehearsal.read(place).decode() == f"{name.lower()}.json"
    assert project.run("register", "--commit", "0123abc").last == arn, "the same request is the same package"

    assert (
        "is PendingManualApproval. Expected an approved package" in project.run("deploy", "--from", arn, fails=True).err
    )
    assert project.run("approve", "--reject", "--reason", "not yet").last == arn
    assert "is Rejected" in project.run("deploy", "--from", arn, fails=True).err
    assert project.run("approve", arn).last == arn
    project.run("deploy", "--from", "approved")
    assert json.loads(project.run("invoke", "hello").out)["word"] == "0.25"


def test_a_model_without_a_baseline_is_registered_without(project):
    project.init()
    job = project.trained(0.5, baseline=False)
    arn = project.run("register", "--from", job).last
    package = project.rehearsal.sagemaker.describe_model_package(ModelPackageName=arn)
    assert "DriftCheckBaselines" not in package
    assert set(package["ModelMetrics"]) == {"ModelQuality"}


@pytest.mark.parametrize(
    "content",
    [b"no archive", gzip.compress(b"x" * 5000)[:20], gzip.compress(b"no tar" * 500)],
    ids=["no gzip", "cut off", "no tar"],
)
def test_a_model_that_is_no_archive_is_told(project, content):
    project.init()
    job = project.trained(0.5)
    place = project.rehearsal.sagemaker.describe_training_job(TrainingJobName=job)["ModelArtifacts"]["S3ModelArtifacts"]
    bucket, _, key = place.removeprefix("s3://").partition("/")
    project.rehearsal.put(bucket, key, content)
    refused = project.run("evaluate", fails=True)
    assert "cannot be read: " in refused.err
    assert "Expected a tar.gz" in refused.err


@pytest.mark.slow
def test_the_gate_is_a_threshold_and_the_model_that_serves(project):
    project.init()
    project.trained(0.25)
    verdict = json.loads(project.run("evaluate", "--threshold", "0.25").out)
    assert verdict == {
        "metric": "validation:loss",
        "value": 0.25,
        "threshold": 0.25,
        "serving": None,
        "reasons": [],
    }
    refused = project.run("evaluate", "--threshold", "0.2", fails=True)
    assert "validation:loss is 0.25, expected at most 0.2" in refused.err
    assert refused.code == 1
    assert (
        "has no metric x. Expected one of validation:loss, validation:rmse"
        in project.run("evaluate", "--metric", "x", fails=True).err
    )

    # The newest that was approved, where nothing serves.
    project.run("register")
    project.run("approve")
    worse = project.trained(0.3)
    said = project.run("evaluate", "--from", worse, fails=True)
    assert "expected at most 0.25, since the model that serves has 0.25" in said.err
    project.run("evaluate", "--from", worse, "--set", "gate.tolerance=0.2")
    # What serves goes before it, whether it came from the registry or not.
    project.run("deploy", "--from", worse)
    assert json.loads(project.run("evaluate", "--from", worse).out)["serving"] == 0.3
    project.run("deploy", "--from", "approved")
    assert "has 0.25" in project.run("evaluate", "--from", worse, fails=True).err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evaluate"], "There is no completed training job of this project. Expected one: run `twofold train`"),
        (["register", "--from", "x"], "There is no training job 'x'"),
        (["approve"], "There is no model package of"),
        (["transform"], "There is no input. Expected s3://... or a local file"),
        (["monitor"], "There is no endpoint"),
        (["tune", "--set", "tune.ranges.a={min: 2, max: 1}"], "tune.ranges.a goes from 2 to 1"),
        (["tune", "--set", "tune.strategy=Grid"], "Expected values for strategy Grid"),
        (["notebook", "--set", "notebook.on_start=no.sh"], "there is no such file"),
    ],
)
def test_what_cannot_be_done_says_what_to_do(project, arguments, said):
    project.init("--data", "training=s3://b/training/")
    refused = project.run(*arguments, fails=True)
    assert said in refused.err


@pytest.mark.slow
def test_an_endpoint_is_watched_when_it_keeps_requests_and_has_a_baseline(project):
    project.init()
    project.run("deploy", "--from", project.model("one"))
    assert "keeps no requests. Expected some to look at" in project.run("monitor", fails=True).err
    project.run("deploy", "--from", project.model("one"), "--capture", "100")
    assert "has no baseline. Expected one: train with `-p baseline=true`" in project.run("monitor", fails=True).err
    project.run("deploy", "--from", project.trained(0.5), "--capture", "100")
    topic = ["--set", "monitor.topic=arn:aws:sns:us-east-1:123456789012:violations"]
    name = project.run("monitor", *topic).last
    assert project.run("monitor", *topic).last == name
    sagemaker = project.rehearsal.sagemaker
    found = sagemaker.describe_monitoring_schedule(MonitoringScheduleName=name)["MonitoringScheduleConfig"]
    place = found["MonitoringJobDefinition"]["BaselineConfig"]["StatisticsResource"]["S3Uri"]
    assert project.rehearsal.read(place) == b"statistics.json"
    (alarm,) = project.rehearsal.client("cloudwatch").describe_alarms(AlarmNamePrefix=project.name)["MetricAlarms"]
    assert (alarm["MetricName"], alarm["AlarmActions"]) == ("violations", [topic[1].partition("=")[2]])

    other = project.run("monitor", "--set", "monitor.schedule=cron(0 3 ? * * *)").last
    there = sagemaker.list_monitoring_schedules(NameContains=project.name)["MonitoringScheduleSummaries"]
    assert [item["MonitoringScheduleName"] for item in there] == [other], "it takes the other's place"
    project.run("down")
    assert not project.rehearsal.client("cloudwatch").describe_alarms(AlarmNamePrefix=project.name)["MetricAlarms"]
    assert not sagemaker.list_monitoring_schedules(NameContains=project.name)["MonitoringScheduleSummaries"]


def test_a_batch_transform_answers_a_file(project):
    project.init()
    (project.folder / "rows.csv").write_text("1\n2\n3\n")
    source = ["--from", project.model("one"), "--set", "transform.strategy=SingleRecord"]
    place = project.run("transform", "rows.csv", *source).last
    lines = project.rehearsal.read(f"{place}rows.csv.out").decode().splitlines()
    assert [json.loads(line)["body"].strip() for line in lines] == ["1", "2", "3"]
    assert "is there already (Completed)" in project.run("transform", "rows.csv", *source).err
