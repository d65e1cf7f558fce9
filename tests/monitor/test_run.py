"""`monitor run` as a process: by the command line, and as a monitoring job of the platform."""

import json
import signal

import numpy as np
import pytest
from twofold.contract.paths import Paths

pytestmark = pytest.mark.procs

NAMES = ("constraint_violations.json", "constraints_violations.json")


@pytest.fixture(scope="session")
def baseline(monitor, tmp_path_factory):
    """A baseline of a label and three features."""
    folder = tmp_path_factory.mktemp("baseline")
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(2000, 4))
    rows[:, 0] = rows[:, 1:].sum(axis=1)
    np.savetxt(folder / "a.csv", rows, delimiter=",", fmt="%.9g")
    monitor("baseline", folder / "a.csv", folder / "out")
    return folder / "out"


def lines(traffic, hour, *, shift=0.0, rows=400, seed=2):
    table = np.random.default_rng(seed).normal(size=(rows, 3))
    table[:, 1] += shift
    return [
        traffic.line(",".join(f"{value:.6g}" for value in row) + "\n", f"{row.sum():.6g}\n", time=f"{hour}:10:00Z")
        for row in table
    ]


def violations(folder):
    first, second = ((folder / name).read_text() for name in NAMES)
    assert first == second
    return {(part.get("feature_name"), part["constraint_check_type"]) for part in json.loads(first)["violations"]}


def test_traffic_like_the_training_data(monitor, traffic, baseline, read_json, tmp_path):
    traffic.write("2026-11-25T13", lines(traffic, "2026-11-25T13"))
    run = monitor("run", traffic.folder, tmp_path / "out", "--baseline", baseline)
    assert "Completed: Job completed successfully with no violations." in run.log
    assert violations(tmp_path / "out") == set()
    statistics = read_json(tmp_path / "out" / "statistics.json")
    assert statistics["dataset"]["item_count"] == 400
    assert [part["name"] for part in statistics["features"]] == ["features_0", "features_1", "features_2", "prediction"]
    assert (tmp_path / "out" / "constraints.json").exists()


@pytest.mark.parametrize("method", ["distance", "psi", "test"])
def test_drift_is_found_in_its_hour(monitor, traffic, baseline, read_json, tmp_path, method):
    """Of ten hours one has drifted, which the whole window does not show by its distance."""
    for hour in range(10, 20):
        shift = 2.0 if hour == 17 else 0.0
        traffic.write(f"2026-11-25T{hour}", lines(traffic, f"2026-11-25T{hour}", shift=shift, seed=hour))
    run = monitor("run", traffic.folder, tmp_path / "out", "--baseline", baseline, "--method", method)
    assert "CompletedWithViolations: " in run.log
    assert ("features_1", "baseline_drift_check") in violations(tmp_path / "out")
    drift = read_json(tmp_path / "out" / "drift.json")
    assert drift["method"] == method
    assert len(drift["hours"]) == 10
    worst = {hour: max(parts, key=lambda part: part["simple"]) for hour, parts in drift["hours"].items()}
    assert max(worst, key=lambda hour: worst[hour]["simple"]) == "2026-11-25T17"
    assert worst["2026-11-25T17"]["name"] == "features_1"


def test_broken_lines_do_not_end_a_run(monitor, traffic, baseline, tmp_path):
    traffic.write("2026-11-25T13", [*lines(traffic, "2026-11-25T13"), "{", traffic.line("1,2\n3")])
    run = monitor("run", traffic.folder, tmp_path / "out", "--baseline", baseline)
    assert "2 lines or bodies could not be read" in run.log


def test_a_baseline_of_captured_traffic_knows_predictions(monitor, traffic, tmp_path):
    good = traffic.write("2026-11-25T13", lines(traffic, "2026-11-25T13"))
    monitor("baseline", good, tmp_path / "base", "--captured")
    monitor("run", good, tmp_path / "same", "--baseline", tmp_path / "base")
    assert violations(tmp_path / "same") == set()
    traffic.write("2026-11-25T13", lines(traffic, "2026-11-25T13", shift=3.0))
    monitor("run", good, tmp_path / "other", "--baseline", tmp_path / "base")
    assert {("_c1", "baseline_drift_check"), ("prediction", "baseline_drift_check")} <= violations(tmp_path / "other")


def make_job(tmp_path, baseline, traffic):
    """A tree and the environment of a monitoring job."""
    paths = Paths(tmp_path / "ml")
    paths.processing_config.mkdir(parents=True)
    (paths.base / "processing").mkdir()
    (paths.base / "processing" / "baseline").symlink_to(baseline)
    (paths.base / "processing" / "endpointdata").symlink_to(traffic.folder)
    return paths, {
        "SAGEMAKER_BASE_DIR": str(paths.base),
        "dataset_format": '{"sagemakerCaptureJson": {"captureIndexNames": ["endpointInput", "endpointOutput"]}}',
        "dataset_source": "/opt/ml/processing/endpointdata",
        "output_path": "/opt/ml/processing/resultdata",
        "start_time": "2026-11-25T13:00:00Z",
        "end_time": "2026-11-25T14:00:00Z",
        "publish_cloudwatch_metrics": "Enabled",
        "sagemaker_endpoint_name": "e",
        "sagemaker_monitoring_schedule_name": "s",
        "baseline_constraints": "/opt/ml/processing/baseline/constraints.json",
        "baseline_statistics": "/opt/ml/processing/baseline/statistics.json",
    }


def test_a_monitoring_job(run_verb, traffic, baseline, tmp_path):
    """Started by nothing but the image's default command and the platform's environment."""
    traffic.write("2026-11-25T13", lines(traffic, "2026-11-25T13", shift=1.0))
    traffic.write("2026-11-25T14", lines(traffic, "2026-11-25T14", shift=9.0))
    paths, environ = make_job(tmp_path, baseline, traffic)
    run_verb("twofold.__main__", paths, "auto", environ=environ)
    text = paths.message.read_text()
    assert text.startswith("CompletedWithViolations: ")
    assert "features_1: baseline_drift_check" in text
    results = paths.base / "processing" / "resultdata"
    assert json.loads((results / "statistics.json").read_text())["dataset"]["item_count"] == 400
    metrics = [
        json.loads(line) for line in (paths.cloudwatch_metrics / "cloudwatch_metrics.jsonl").read_text().splitlines()
    ]
    named = {metric["MetricName"]: metric for metric in metrics}
    assert named["violations"]["Value"] == len(json.loads((results / NAMES[0]).read_text())["violations"]) > 0
    drift = named["feature_baseline_drift_features_1"]
    assert drift["Value"] > 0.1
    assert drift["Timestamp"] == "2026-11-25T14:00:00Z"
    assert drift["Dimensions"] == [
        {"Name": "Endpoint", "Value": "e"},
        {"Name": "MonitoringSchedule", "Value": "s"},
    ]
    assert all(("Value" in metric) != ("StatisticValues" in metric) for metric in metrics)


def test_no_data_in_the_window_is_no_failure(monitor, traffic, baseline, tmp_path):
    traffic.write("2026-11-25T20", lines(traffic, "2026-11-25T20", rows=3))
    paths, environ = make_job(tmp_path, baseline, traffic)
    monitor(environ=environ)
    assert paths.message.read_text().startswith("Completed: No data in ")


def test_a_job_without_a_baseline_makes_one(monitor, traffic, baseline, tmp_path):
    paths, environ = make_job(tmp_path, baseline, traffic)
    (tmp_path / "a.csv").write_text("age,city\n41,Bern\n7,Chur\n")
    environ |= {"dataset_source": str(tmp_path / "a.csv"), "dataset_format": '{"csv": {"header": true}}'}
    del environ["baseline_constraints"], environ["baseline_statistics"]
    monitor(environ=environ)
    assert paths.message.read_text().startswith("Completed: baseline of 2 rows and 2 features")
    assert (paths.base / "processing" / "resultdata" / "constraints.json").exists()


def test_rows_of_a_batch_transform(monitor, traffic, baseline, tmp_path):
    np.savetxt(tmp_path / "a.csv", np.random.default_rng(5).normal(size=(500, 4)), delimiter=",", fmt="%.9g")
    paths, environ = make_job(tmp_path, baseline, traffic)
    environ |= {"dataset_source": str(tmp_path / "a.csv"), "dataset_format": '{"csv": {"header": false}}'}
    del environ["sagemaker_endpoint_name"]
    monitor(environ=environ)
    assert paths.message.read_text().startswith(("Completed", "CompletedWithViolations"))
    metrics = (paths.cloudwatch_metrics / "cloudwatch_metrics.jsonl").read_text()
    assert '"Dimensions": [{"Name": "MonitoringSchedule", "Value": "s"}]' in metrics


def test_a_broken_baseline_fails_the_job(monitor, traffic, baseline, tmp_path):
    traffic.write("2026-11-25T13", lines(traffic, "2026-11-25T13", rows=3))
    paths, environ = make_job(tmp_path, baseline, traffic)
    environ["baseline_constraints"] = "/opt/ml/processing/nowhere.json"
    monitor(environ=environ, expect=2)
    assert paths.message.read_text().startswith("configuration: ")


def test_it_stops_when_it_is_asked_to(start_verb, traffic, baseline, tmp_path):
    """A pipe that nobody writes to keeps it waiting."""
    import os

    traffic.folder.mkdir()
    os.mkfifo(tmp_path / "statistics.json")
    paths, environ = make_job(tmp_path, baseline, traffic)
    environ["baseline_statistics"] = str(tmp_path / "statistics.json")
    run = start_verb("twofold.monitor", paths, environ=environ)
    reader = os.open(tmp_path / "statistics.json", os.O_WRONLY)  # opens once the process reads
    run.send(signal.SIGTERM)
    assert run.wait() == 143
    os.close(reader)
    assert paths.message.read_text().startswith("stopped: SIGTERM")


def labelled(traffic, hour, *, noise, shift=0.0, rows=400):
    """Lines with the truth, from which the answers are off by noise."""
    rng = np.random.default_rng(7)
    table = rng.normal(size=(rows, 3))
    answers = table.sum(axis=1)
    truths = answers + rng.normal(shift, noise, rows)
    return [
        traffic.line(
            ",".join(f"{value:.6g}" for value in row), f"{answer:.6g}", truth=f"{truth:.6g}", time=f"{hour}:00:00Z"
        )
        for row, answer, truth in zip(table, answers, truths, strict=True)
    ]


def test_a_model_that_got_worse(monitor, traffic, read_json, tmp_path):
    """Requests and answers are as before; only the truth has moved."""
    good = traffic.write("2026-11-25T13", labelled(traffic, "2026-11-25T13", noise=0.1))
    monitor("baseline", good, tmp_path / "base", "--captured")
    assert read_json(tmp_path / "base" / "statistics.json")["regression_metrics"]["mae"]["value"] < 0.1
    monitor("run", good, tmp_path / "same", "--baseline", tmp_path / "base")
    assert violations(tmp_path / "same") == set()
    traffic.write("2026-11-25T13", labelled(traffic, "2026-11-25T13", noise=0.1, shift=2.0))
    run = monitor("run", good, tmp_path / "out", "--baseline", tmp_path / "base")
    found = read_json(tmp_path / "out" / "constraint_violations.json")["violations"]
    kinds = {(part.get("feature_name") or part.get("metric_name"), part["constraint_check_type"]) for part in found}
    assert ("mae", "GreaterThanThreshold") in kinds
    assert ("r2", "LessThanThreshold") in kinds
    assert ("label", "baseline_drift_check") in kinds
    assert not {name for name, _ in kinds} & {"_c0", "_c1", "_c2", "prediction"}
    assert "mae: GreaterThanThreshold" in run.log
    assert list(read_json(tmp_path / "out" / "drift.json")["quality"]) == ["2026-11-25T13"]
