"""Tuning jobs whose trials are small scripts in place of `train`."""

import sys

import pytest
from botocore.exceptions import ClientError

from .conftest import IMAGE, NUMBERS, ROLE, until

# The objective is best at rate = 0.1 and colour = blue; `steps` values of it come, a little better each time.
TRAIN = f"""#!{sys.executable}
import json, math, os, pathlib, sys, time
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
hps = json.loads((base / "input/config/hyperparameters.json").read_text())
assert hps["_tuning_objective_metric"] == "loss" and hps["kept"] == "yes"
rate = float(hps.get("rate", 0.1))
if rate < 2e-3: sys.exit(1)
loss = abs(math.log10(rate) + 1) + (hps.get("colour", "blue") != "blue") + int(hps.get("depth", 0))
for step in range(int(os.environ.get("STEPS", 1))):
    print(f"loss={{loss + 1 / (step + 1):.6f}};", flush=True)
    time.sleep(float(os.environ.get("PAUSE", 0)))
"""


@pytest.fixture
def tune(shared, tmp_path):
    (tmp_path / "train").write_text(TRAIN)
    (tmp_path / "train").chmod(0o755)

    def run(strategy, ranges, *, jobs=6, parallel=2, environ=None, wait=True, **config):
        name = f"tune-{next(NUMBERS)}"
        limits = {"MaxParallelTrainingJobs": parallel, **({"MaxNumberOfTrainingJobs": jobs} if jobs else {})}
        shared.sagemaker.create_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=name,
            HyperParameterTuningJobConfig={
                "Strategy": strategy,
                "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
                "ResourceLimits": limits,
                "ParameterRanges": ranges,
                "RandomSeed": 7,
                **config,
            },
            TrainingJobDefinition={
                "StaticHyperParameters": {"kept": "yes"},
                "AlgorithmSpecification": {
                    "TrainingImage": IMAGE,
                    "TrainingInputMode": "File",
                    "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+);"}],
                },
                "RoleArn": ROLE,
                "OutputDataConfig": {"S3OutputPath": f"s3://{shared.bucket()}/out"},
                "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
                "StoppingCondition": {"MaxRuntimeInSeconds": 600},
                "Environment": {"PATH": str(tmp_path), **(environ or {})},
            },
        )
        return ended(shared, name) if wait else name

    return run


def ended(shared, name):
    def look():
        job = shared.sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        return job["HyperParameterTuningJobStatus"] not in ("InProgress", "Stopping") and job

    return until(look, f"end of {name}")


def trials(shared, job):
    return shared.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=job["HyperParameterTuningJobName"],
        SortBy="FinalObjectiveMetricValue",
        SortOrder="Ascending",
    )["TrainingJobSummaries"]


RATE = {"Name": "rate", "MinValue": "0.01", "MaxValue": "1.0", "ScalingType": "Logarithmic"}
DEPTH = {"Name": "depth", "MinValue": "0", "MaxValue": "3"}


@pytest.mark.parametrize("strategy", ["Random", "Bayesian"])
def test_six_trials_find_better_than_the_worst(shared, tune, strategy):
    job = tune(strategy, {"ContinuousParameterRanges": [RATE], "IntegerParameterRanges": [DEPTH]})
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert job["TrainingJobStatusCounters"]["Completed"] == 6
    assert job["ObjectiveStatusCounters"] == {"Succeeded": 6, "Pending": 0, "Failed": 0}
    found = trials(shared, job)
    values = [trial["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for trial in found]
    assert values == sorted(values)
    assert values[0] < values[-1]
    best = job["BestTrainingJob"]
    assert best["TrainingJobName"] == found[0]["TrainingJobName"]
    assert best["TrainingJobName"].startswith(f"{job['HyperParameterTuningJobName']}-00")
    training = shared.sagemaker.describe_training_job(TrainingJobName=best["TrainingJobName"])
    assert training["TuningJobArn"] == job["HyperParameterTuningJobArn"]
    assert training["HyperParameters"]["rate"] == best["TunedHyperParameters"]["rate"]
    assert training["HyperParameters"]["kept"] == "yes"


def test_a_grid_tries_everything(shared, tune):
    ranges = [{"Name": "colour", "Values": ["blue", "red"]}, {"Name": "rate", "Values": ["0.1", "0.5", "0.001"]}]
    job = tune("Grid", {"CategoricalParameterRanges": ranges}, jobs=None)
    found = trials(shared, job)
    tried = {(trial["TunedHyperParameters"]["colour"], trial["TunedHyperParameters"]["rate"]) for trial in found}
    assert len(found) == len(tried) == 6
    assert job["BestTrainingJob"]["TunedHyperParameters"] == {"colour": "blue", "rate": "0.1"}
    # The jobs at 0.001 fail before they say the objective: they cannot be ranked.
    assert job["ObjectiveStatusCounters"]["Failed"] == 2
    with pytest.raises(ClientError, match="Grid takes CategoricalParameterRanges only"):
        tune("Grid", {"ContinuousParameterRanges": [RATE]})


@pytest.mark.slow
def test_hyperband_stops_the_bad_ones_early(shared, tune):
    job = tune(
        "Hyperband",
        {"IntegerParameterRanges": [{**DEPTH, "MaxValue": "9"}]},
        jobs=8,
        environ={"STEPS": "9", "PAUSE": "0.1"},
        StrategyConfig={"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 9}},
    )
    counters = job["TrainingJobStatusCounters"]
    assert counters["Completed"] + counters["Stopped"] == 8
    assert counters["Stopped"] >= 1
    assert job["ObjectiveStatusCounters"]["Succeeded"] == 8


def test_it_ends_at_its_target_or_when_told(shared, tune):
    criteria = {"TargetObjectiveMetricValue": 50.0}
    job = tune("Random", {"ContinuousParameterRanges": [RATE]}, parallel=1, TuningJobCompletionCriteria=criteria)
    assert job["TrainingJobStatusCounters"]["Completed"] == 1
    name = tune("Random", {"ContinuousParameterRanges": [RATE]}, environ={"PAUSE": "500"}, wait=False)

    def running():
        job = shared.sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        return job["TrainingJobStatusCounters"]["InProgress"] == 2

    until(running, "two trials run")
    shared.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    job = ended(shared, name)
    assert job["HyperParameterTuningJobStatus"] == "Stopped"
    assert job["TrainingJobStatusCounters"]["Stopped"] == 2


def test_an_objective_that_nobody_measures_is_refused(tune):
    other = {"Type": "Maximize", "MetricName": "accuracy"}
    with pytest.raises(ClientError, match="'accuracy' is none of MetricDefinitions: loss"):
        tune("Random", {"ContinuousParameterRanges": [RATE]}, HyperParameterTuningJobObjective=other)
    with pytest.raises(ClientError, match="ReverseLogarithmic is not rehearsed"):
        tune("Random", {"ContinuousParameterRanges": [{**RATE, "ScalingType": "ReverseLogarithmic"}]})
