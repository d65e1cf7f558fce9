"""What stock clients do by themselves, boto3's paginators and waiters, for every resource that is rehearsed."""

import pytest
from botocore.exceptions import WaiterError
from twofold.rehearse.operations import TABLE

from .conftest import IMAGE, NUMBERS, ROLE, ask, job_request, until
from .test_monitoring import definition
from .test_processing import request as processing_request

MANY = 3
PAGE_OF_TAGS = 50
"""The service gives no smaller ones."""
QUICK = {"Delay": 1, "MaxAttempts": 120}
# Each List operation that is rehearsed: the field of its answer, and what names an entry.
LISTS = {
    "list_training_jobs": ("TrainingJobSummaries", "TrainingJobName"),
    "list_hyper_parameter_tuning_jobs": ("HyperParameterTuningJobSummaries", "HyperParameterTuningJobName"),
    "list_training_jobs_for_hyper_parameter_tuning_job": ("TrainingJobSummaries", "TrainingJobName"),
    "list_notebook_instance_lifecycle_configs": (
        "NotebookInstanceLifecycleConfigs",
        "NotebookInstanceLifecycleConfigName",
    ),
    "list_models": ("Models", "ModelName"),
    "list_endpoint_configs": ("EndpointConfigs", "EndpointConfigName"),
    "list_endpoints": ("Endpoints", "EndpointName"),
    "list_processing_jobs": ("ProcessingJobSummaries", "ProcessingJobName"),
    "list_transform_jobs": ("TransformJobSummaries", "TransformJobName"),
    "list_monitoring_schedules": ("MonitoringScheduleSummaries", "MonitoringScheduleName"),
    "list_monitoring_executions": ("MonitoringExecutionSummaries", "ProcessingJobArn"),
    "list_model_package_groups": ("ModelPackageGroupSummaryList", "ModelPackageGroupName"),
    "list_model_packages": ("ModelPackageSummaryList", "ModelPackageArn"),
    "list_tags": ("Tags", "Key"),
}


def transform_request(name, model, bucket):
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/in/"}}
    return {
        "TransformJobName": name,
        "ModelName": model,
        "TransformInput": {"DataSource": source},
        "TransformOutput": {"S3OutputPath": f"s3://{bucket}/out"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }


@pytest.fixture(scope="module")
def many(shared, make):
    """Some of each resource, and the names that each List operation must find by which fields of its request."""
    sagemaker, bucket = shared.sagemaker, shared.bucket(**{"in/x": b"1", "baseline/constraints.json": b"{}"})
    stem = f"many-{next(NUMBERS)}"
    names = [f"{stem}-{number}" for number in range(MANY)]
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{bucket}/nothing.tar.gz"}
    variant = {"VariantName": "v", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    training = job_request(shared, bucket, stem, "print('loss=1;')")
    tuned = [f"tuned-{name}"[::-1] for name in names]  # no names of other lists in them
    trial = {key: value for key, value in training.items() if key != "TrainingJobName"}
    loss = [{"Name": "loss", "Regex": "loss=([0-9.]+);"}]
    trial["AlgorithmSpecification"] = {"TrainingImage": IMAGE, "TrainingInputMode": "File", "MetricDefinitions": loss}
    trial["Environment"] = {"PATH": "/nowhere"}
    rate = {"Name": "rate", "MinValue": "0.01", "MaxValue": "1.0"}
    packages, named = [], {"NameContains": stem}
    for number, name in enumerate(names):
        sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[{**variant, "ModelName": name}])
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        sagemaker.create_training_job(**{**training, "TrainingJobName": name})
        sagemaker.create_processing_job(**{**processing_request(shared, bucket, "pass"), "ProcessingJobName": name})
        sagemaker.create_transform_job(**transform_request(name, name, bucket))
        sagemaker.create_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=tuned[number],
            HyperParameterTuningJobConfig={
                "Strategy": "Random",
                "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
                # All trials of the first; one of each other.
                "ResourceLimits": {
                    "MaxParallelTrainingJobs": MANY,
                    "MaxNumberOfTrainingJobs": 1 if number else MANY,
                },
                "ParameterRanges": {"ContinuousParameterRanges": [rate]},
            },
            TrainingJobDefinition=trial,
        )
        sagemaker.create_notebook_instance_lifecycle_config(NotebookInstanceLifecycleConfigName=name)
        sagemaker.create_model_package_group(ModelPackageGroupName=name)
        package = {"ModelPackageGroupName": stem + "-0", "InferenceSpecification": {"Containers": [container]}}
        packages.append(sagemaker.create_model_package(**package)["ModelPackageArn"])
    tagged = sagemaker.describe_model(ModelName=names[0])["ModelArn"]
    tags = [f"tag-{number}" for number in range(2 * PAGE_OF_TAGS)]
    for part in (tags[:PAGE_OF_TAGS], tags[PAGE_OF_TAGS:]):
        sagemaker.add_tags(ResourceArn=tagged, Tags=[{"Key": tag, "Value": "x"} for tag in part])
    executions = schedules(shared, make, bucket, names)
    sorted_trials = {"HyperParameterTuningJobName": tuned[0], "SortBy": "FinalObjectiveMetricValue"}
    until(lambda: len(trials(shared, tuned[0])) == MANY, "all trials of a tuning job")
    special = {
        "list_hyper_parameter_tuning_jobs": ({"NameContains": stem[::-1]}, tuned),
        "list_training_jobs_for_hyper_parameter_tuning_job": (sorted_trials, trials(shared, tuned[0])),
        "list_monitoring_executions": ({"MonitoringScheduleName": names[0]}, executions),
        "list_model_packages": ({"ModelPackageGroupName": names[0]}, packages),
        "list_tags": ({"ResourceArn": tagged}, tags),
    }
    yield names, {operation: special.get(operation, (named, names)) for operation in LISTS}
    for name in names:
        sagemaker.delete_monitoring_schedule(MonitoringScheduleName=name)


def trials(shared, name):
    found = shared.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    return [trial["TrainingJobName"] for trial in found["TrainingJobSummaries"]]


def schedules(shared, make, bucket, names):
    """Schedules of those names, and the processing jobs of the first, which ran twice."""
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{bucket}/captured",
        "CaptureOptions": [{"CaptureMode": "Input"}],
    }
    endpoint = make.endpoint("one", DataCaptureConfig=capture)
    ask(shared, endpoint)
    sagemaker = shared.sagemaker
    for name in names:
        monitored = definition(bucket, endpoint)
        monitored["MonitoringAppSpecification"]["ContainerEntrypoint"] = ["true"]
        when = "NOW" if name == names[0] else "cron(0 3 ? * * *)"
        config = {"ScheduleConfig": {"ScheduleExpression": when}, "MonitoringJobDefinition": monitored}
        sagemaker.create_monitoring_schedule(MonitoringScheduleName=name, MonitoringScheduleConfig=config)

    def executions():
        found = sagemaker.list_monitoring_executions(MonitoringScheduleName=names[0])["MonitoringExecutionSummaries"]
        return [execution["ProcessingJobArn"] for execution in found]

    until(executions, "an execution")
    sagemaker.stop_monitoring_schedule(MonitoringScheduleName=names[0])
    sagemaker.start_monitoring_schedule(MonitoringScheduleName=names[0])
    return until(lambda: len(found := executions()) == 2 and found, "another execution")


def test_every_list_that_is_rehearsed_is_here(shared):
    # Only test_notebook.py has something in the place of JupyterLab.
    rehearsed = {name for name in TABLE if name.startswith("List")} - {"ListNotebookInstances"}
    assert {shared.sagemaker.meta.method_to_api_mapping[name] for name in LISTS} == rehearsed


@pytest.mark.parametrize("operation", LISTS)
def test_a_paginator_finds_all_in_pages(shared, many, operation):
    (result, key), (request, wanted) = LISTS[operation], many[1][operation]
    size = PAGE_OF_TAGS if operation == "list_tags" else 1
    pages = list(shared.sagemaker.get_paginator(operation).paginate(**request, PaginationConfig={"PageSize": size}))
    assert [len(page[result]) for page in pages] == [size] * (len(wanted) // size)
    assert {item[key] for page in pages for item in page[result]} == set(wanted)


@pytest.mark.parametrize("kind", ["training_job", "processing_job", "transform_job"])
def test_a_waiter_sees_a_job_end_well_and_badly(shared, many, make, kind):
    """Those of `many` have ended by themselves, but the transform jobs, which have no model."""
    sagemaker, (names, _) = shared.sagemaker, many
    field = "".join(word.title() for word in kind.split("_")) + "Name"
    waiter = sagemaker.get_waiter(f"{kind}_completed_or_stopped")
    if kind == "transform_job":
        good, bad = f"good-{next(NUMBERS)}", names[0]
        bucket = shared.bucket(**{"in/x": b"1"})
        sagemaker.create_transform_job(**transform_request(good, make.model("one"), bucket))
    else:
        good, bad = names[0], f"bad-{next(NUMBERS)}"
        if kind == "training_job":
            sagemaker.create_training_job(**job_request(shared, shared.bucket(), bad, "import sys; sys.exit(3)"))
        else:
            failing = processing_request(shared, shared.bucket(), "sys.exit(3)")
            sagemaker.create_processing_job(**{**failing, "ProcessingJobName": bad})
    waiter.wait(**{field: good}, WaiterConfig=QUICK)
    with pytest.raises(WaiterError, match="terminal failure state"):
        waiter.wait(**{field: bad}, WaiterConfig=QUICK)
    with pytest.raises(WaiterError, match=r"(?i)could not find"):
        waiter.wait(**{field: "nowhere"}, WaiterConfig=QUICK)


def test_waiters_see_endpoints_come_fail_and_go(shared, many, make):
    sagemaker, failed = shared.sagemaker, many[0][0]
    name, config = f"endpoint-{next(NUMBERS)}", make.config("one")
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig=QUICK)
    with pytest.raises(WaiterError, match="terminal failure state"):
        sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=failed, WaiterConfig=QUICK)
    sagemaker.delete_endpoint(EndpointName=name)
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig=QUICK)
