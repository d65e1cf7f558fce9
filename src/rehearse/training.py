"""Operations on training jobs."""

import re
import time

from ..errors import ApiError
from . import job_run, listing, trees, warm_pool
from .aws import arn
from .context import Context
from .store import Document
from .training_run import TrainingRun

KIND = "TrainingJob"


def create(context: Context, request: Document) -> Document:
    """CreateTrainingJob: check what the job would fail on, then let it run."""
    check(request)
    warm_pool.check(request)
    job = start(context, {**request, **warm_pool.asked(request)})
    warm_pool.reuse(context, job)
    return job


def start(context: Context, request: Document) -> Document:
    """Run a job that was found good; also those of tuning jobs."""
    name = request["TrainingJobName"]
    job = {
        "EnableNetworkIsolation": False,
        "EnableInterContainerTrafficEncryption": False,
        "EnableManagedSpotTraining": False,
        **request,
        "TrainingJobArn": arn("training-job", name, context.region),
        "TrainingJobStatus": "InProgress",
        "SecondaryStatus": "Starting",
        "SecondaryStatusTransitions": [
            {"Status": "Starting", "StartTime": time.time(), "StatusMessage": "Starting the training job"}
        ],
    }
    return context.begin(KIND, job, lambda name: TrainingRun(context, name))


def describe(context: Context, request: Document) -> Document:
    """DescribeTrainingJob."""
    return warm_pool.shown(context.store.get(KIND, request["TrainingJobName"]))


def list_all(context: Context, request: Document) -> Document:
    """ListTrainingJobs."""
    jobs = [warm_pool.shown(job) for job in context.store.all(KIND)]
    pool = request.get("WarmPoolStatusEquals")
    found = [job for job in jobs if pool in (None, job.get("WarmPoolStatus", {}).get("Status"))]
    return listing.page(KIND, found, request, result="TrainingJobSummaries")


def stop(context: Context, request: Document) -> Document:
    """StopTrainingJob: SIGTERM, 120 s, SIGKILL; what is in the model folder by then is sent."""
    job_run.stop(context, KIND, request["TrainingJobName"])
    return {}


def delete(context: Context, request: Document) -> Document:
    """DeleteTrainingJob: only one that has ended."""
    name = request["TrainingJobName"]
    if context.store.get(KIND, name)["TrainingJobStatus"] in ("InProgress", "Stopping"):
        raise ApiError(f"The training job {name!r} runs. Stop it first.", code="ResourceInUse")
    context.store.delete(KIND, name)
    return {}


def check(request: Document) -> None:
    """Refuse what AWS would; also the definition of a tuning job.

    Raises:
        ApiError: it would fail.
    """
    _check_time(request)
    algorithm = request["AlgorithmSpecification"]
    if "TrainingImage" not in algorithm:
        raise _invalid("AlgorithmSpecification.TrainingImage is missing.")
    for definition in algorithm.get("MetricDefinitions", []):
        try:
            re.compile(definition["Regex"])
        except re.error as error:
            raise _invalid(f"Regex of metric {definition['Name']!r} cannot be read: {error}.") from error
    resources = request.get("ResourceConfig", {})
    if "InstanceGroups" not in resources and not {"InstanceType", "InstanceCount"} <= resources.keys():
        raise _invalid("ResourceConfig has neither InstanceType with InstanceCount nor InstanceGroups.")
    groups = {group["InstanceGroupName"] for group in trees.instance_groups(resources)}
    for channel in request.get("InputDataConfig", []):
        if "S3DataSource" not in channel["DataSource"]:
            raise _invalid(f"Channel {channel['ChannelName']!r} has no S3DataSource.")
        unknown = set(channel["DataSource"]["S3DataSource"].get("InstanceGroupNames", [])) - groups
        if unknown:
            raise _invalid(f"Channel {channel['ChannelName']!r} names the groups {', '.join(sorted(unknown))}.")


def _check_time(request: Document) -> None:
    condition = request["StoppingCondition"]
    if not request.get("EnableManagedSpotTraining"):
        if "MaxWaitTimeInSeconds" in condition:
            raise _invalid("MaxWaitTimeInSeconds needs EnableManagedSpotTraining.")
    elif condition.get("MaxWaitTimeInSeconds", 0) < condition.get("MaxRuntimeInSeconds", 86_400):
        raise _invalid("MaxWaitTimeInSeconds of a spot job must be at least MaxRuntimeInSeconds.")


def _invalid(text: str) -> ApiError:
    return ApiError(text, code="ValidationException")
