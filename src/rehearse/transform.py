"""Operations on batch transform jobs."""

from ..errors import ApiError
from . import job_run, listing
from .aws import arn
from .context import Context
from .store import Document
from .transform_run import TransformRun

KIND = "TransformJob"
MAX_PRODUCT_MB = 100


def create(context: Context, request: Document) -> Document:
    """CreateTransformJob."""
    name = request["TransformJobName"]
    _check(context, request)
    job = {**request, "TransformJobArn": arn("transform-job", name, context.region), "TransformJobStatus": "InProgress"}
    return context.begin(KIND, job, lambda name: TransformRun(context, name))


def describe(context: Context, request: Document) -> Document:
    """DescribeTransformJob."""
    return context.store.get(KIND, request["TransformJobName"])


def list_all(context: Context, request: Document) -> Document:
    """ListTransformJobs."""
    return listing.page(KIND, context.store.all(KIND), request, result="TransformJobSummaries")


def stop(context: Context, request: Document) -> Document:
    """StopTransformJob."""
    job_run.stop(context, KIND, request["TransformJobName"])
    return {}


def _check(context: Context, request: Document) -> None:
    context.store.get("Model", request["ModelName"])
    product = request.get("MaxConcurrentTransforms", 1) * request.get("MaxPayloadInMB", 6)
    if product > MAX_PRODUCT_MB:
        raise ApiError(
            f"MaxConcurrentTransforms * MaxPayloadInMB is {product}, expected at most {MAX_PRODUCT_MB}.",
            code="ValidationException",
        )
