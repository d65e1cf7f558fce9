"""Operations on processing jobs."""

from ..errors import ApiError
from . import job_run, listing
from .aws import arn
from .context import Context
from .processing_run import ProcessingRun
from .store import Document

KIND = "ProcessingJob"


def create(context: Context, request: Document) -> Document:
    """CreateProcessingJob."""
    _check(request)
    return start(context, request)


def start(context: Context, request: Document) -> Document:
    """Run a job that was found good; also those of monitoring schedules."""
    name = request["ProcessingJobName"]
    job = {
        **request,
        "ProcessingJobArn": arn("processing-job", name, context.region),
        "ProcessingJobStatus": "InProgress",
    }
    return context.begin(KIND, job, lambda name: ProcessingRun(context, name))


def describe(context: Context, request: Document) -> Document:
    """DescribeProcessingJob."""
    return context.store.get(KIND, request["ProcessingJobName"])


def list_all(context: Context, request: Document) -> Document:
    """ListProcessingJobs."""
    return listing.page(KIND, context.store.all(KIND), request, result="ProcessingJobSummaries")


def stop(context: Context, request: Document) -> Document:
    """StopProcessingJob."""
    job_run.stop(context, KIND, request["ProcessingJobName"])
    return {}


def _check(request: Document) -> None:
    cluster = request["ProcessingResources"]["ClusterConfig"]
    if not {"InstanceType", "InstanceCount"} <= cluster.keys():
        raise ApiError("ClusterConfig has no InstanceType with InstanceCount.", code="ValidationException")
    for item in request.get("ProcessingInputs", []):
        if "S3Input" not in item or "LocalPath" not in item["S3Input"]:
            raise ApiError(f"Input {item['InputName']!r} has no S3Input with LocalPath.", code="ValidationException")
        if item["S3Input"].get("S3InputMode", "File") != "File":
            raise ApiError("S3InputMode Pipe of processing jobs is not rehearsed; File is.", code="NotRehearsed")
    places = [item["S3Input"]["LocalPath"] for item in request.get("ProcessingInputs", [])]
    outputs = request.get("ProcessingOutputConfig", {}).get("Outputs", [])
    for item in outputs:
        if "S3Output" not in item or "LocalPath" not in item["S3Output"]:
            raise ApiError(f"Output {item['OutputName']!r} has no S3Output with LocalPath.", code="ValidationException")
    for place in (*places, *(item["S3Output"]["LocalPath"] for item in outputs)):
        if not place.startswith("/opt/ml/processing/"):
            raise ApiError(f"LocalPath {place!r} does not begin with /opt/ml/processing/.", code="ValidationException")
