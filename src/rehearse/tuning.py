"""Operations on tuning jobs."""

from collections import Counter
from collections.abc import Sequence

from ..errors import ApiError
from . import listing, training
from .aws import arn
from .context import Context
from .store import Document
from .tuning_run import KIND, TuningRun

_COUNTERS = {
    "Completed": "Completed",
    "InProgress": "InProgress",
    "Stopping": "InProgress",
    "Stopped": "Stopped",
    "Failed": "NonRetryableError",
}


def create(context: Context, request: Document) -> Document:
    """CreateHyperParameterTuningJob."""
    name = request["HyperParameterTuningJobName"]
    config = request["HyperParameterTuningJobConfig"]
    for field in ("HyperParameterTuningJobObjective", "ParameterRanges"):
        if field not in config:
            raise ApiError(f"HyperParameterTuningJobConfig.{field} is missing.", code="ValidationException")
    if "TrainingJobDefinition" not in request:
        raise ApiError("TrainingJobDefinition is missing.", code="ValidationException")
    definition = request["TrainingJobDefinition"]
    names = {metric["Name"] for metric in definition["AlgorithmSpecification"].get("MetricDefinitions", [])}
    objective = config["HyperParameterTuningJobObjective"]["MetricName"]
    if objective not in names:
        raise ApiError(
            f"The objective {objective!r} is none of MetricDefinitions: {', '.join(sorted(names)) or 'none'}.",
            code="ValidationException",
        )
    training.check(definition)
    job = {
        **request,
        "HyperParameterTuningJobArn": arn("hyper-parameter-tuning-job", name, context.region),
        "HyperParameterTuningJobStatus": "InProgress",
    }
    return context.begin(KIND, job, lambda name: TuningRun(context, name))


def describe(context: Context, request: Document) -> Document:
    """DescribeHyperParameterTuningJob, with its counters and the best training job so far."""
    return _shown(context, context.store.get(KIND, request["HyperParameterTuningJobName"]))


def list_all(context: Context, request: Document) -> Document:
    """ListHyperParameterTuningJobs."""
    found = [_shown(context, job) for job in context.store.all(KIND)]
    return listing.page(KIND, found, request, result="HyperParameterTuningJobSummaries")


def list_jobs(context: Context, request: Document) -> Document:
    """ListTrainingJobsForHyperParameterTuningJob."""
    job = context.store.get(KIND, request["HyperParameterTuningJobName"])
    found = _children(context, job)
    if request.get("SortBy") == "FinalObjectiveMetricValue":
        done = [child for child in found if child["ObjectiveStatus"] == "Succeeded"]
        done.sort(key=_value, reverse=request.get("SortOrder", "Ascending") == "Descending")
        rest = [child for child in found if child["ObjectiveStatus"] != "Succeeded"]
        return listing.cut(done + rest, request, result="TrainingJobSummaries")
    return listing.page("TrainingJob", found, request, result="TrainingJobSummaries")


def stop(context: Context, request: Document) -> Document:
    """StopHyperParameterTuningJob: its training jobs are stopped."""
    name = request["HyperParameterTuningJobName"]
    status, run = context.store.get(KIND, name)["HyperParameterTuningJobStatus"], context.run(KIND, name)
    if run is None or status not in ("InProgress", "Stopping"):
        raise ApiError(f"The tuning job {name!r} is in status {status}.", code="ValidationException")
    context.store.update(KIND, name, HyperParameterTuningJobStatus="Stopping")
    run.tell("stopped")
    return {}


def _children(context: Context, job: Document) -> list[Document]:
    mine = job["HyperParameterTuningJobArn"]
    return [child for child in context.store.all("TrainingJob") if child.get("TuningJobArn") == mine]


def _shown(context: Context, job: Document) -> Document:
    children = _children(context, job)
    states = Counter(_COUNTERS[child["TrainingJobStatus"]] for child in children)
    objectives = Counter(child["ObjectiveStatus"] for child in children)
    shown = {
        **job,
        "TrainingJobStatusCounters": {
            name: states[name] for name in ("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped")
        },
        "ObjectiveStatusCounters": {name: objectives[name] for name in ("Succeeded", "Pending", "Failed")},
    }
    best = _best(children, job["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["Type"])
    return {**shown, "BestTrainingJob": best} if best else shown


def _best(children: Sequence[Document], kind: str) -> Document | None:
    done = [child for child in children if child["ObjectiveStatus"] == "Succeeded"]
    if not done:
        return None
    return min(done, key=_value) if kind == "Minimize" else max(done, key=_value)


def _value(child: Document) -> float:
    return float(child["FinalHyperParameterTuningJobObjectiveMetric"]["Value"])
