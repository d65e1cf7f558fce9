"""Asking an endpoint: at once, as a stream, or by way of the bucket where it answers later."""

import mimetypes
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from ..errors import TooSlow, UserError
from .aws import Document
from .project import Project

TYPES = {".csv": "text/csv", ".jsonl": "application/jsonlines", ".npy": "application/x-npy", ".libsvm": "text/libsvm"}
"""Content types by the suffix of a file, beside those that everybody knows."""
ASYNC_DEADLINE_S = 3600.0
RUNTIME = "sagemaker-runtime"


def content_type(path: Path | None, given: str | None) -> str:
    """Content type of a request: the one given, else by the file's name, else JSON."""
    if given is not None:
        return given
    if path is None:
        return "application/json"
    return TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def invoke(
    project: Project, body: bytes, *, kind: str, accept: str | None, variant: str | None, stream: bool
) -> Iterator[bytes]:
    """Ask the endpoint, in whatever mode it is, and yield the answer, a stream's in the parts that come.

    Raises:
        UserError: it refuses the request, or there is none.
        TooSlow: an asynchronous endpoint has not answered within an hour.
    """
    name = project.config.endpoint
    request: Document = {"EndpointName": name, "ContentType": kind, **({"Accept": accept} if accept else {})}
    described = project.aws.ask("sagemaker", "DescribeEndpoint", EndpointName=name)
    if described.get("AsyncInferenceConfig"):
        yield _asynchronous(project, request, body)
        return
    if variant is not None:
        request["TargetVariant"] = variant
    operation = "InvokeEndpointWithResponseStream" if stream else "InvokeEndpoint"
    answer = project.aws.do(RUNTIME, operation, **request, Body=body)
    if stream:
        yield from (event["PayloadPart"]["Bytes"] for event in answer.get("Body", ()) if "PayloadPart" in event)
    elif answer:
        yield answer["Body"].read()


def _asynchronous(project: Project, request: Document, body: bytes) -> bytes:
    place = project.storage.put(f"async/requests/{uuid.uuid4().hex}", body)
    answer = project.aws.do(RUNTIME, "InvokeEndpointAsync", **request, InputLocation=place)
    if not answer:
        return b""
    end = time.monotonic() + ASYNC_DEADLINE_S
    while time.monotonic() < end:
        if (found := _object(project, answer["OutputLocation"])) is not None:
            return found
        if (failed := _object(project, answer["FailureLocation"])) is not None:
            raise UserError(f"Endpoint {project.config.endpoint} failed: {failed.decode(errors='replace')[:1000]}.")
        time.sleep(min(1.0, project.aws.poll_s))
    raise TooSlow(f"No answer in {answer['OutputLocation']} within an hour. See `twofold logs`.")


def _object(project: Project, uri: str) -> bytes | None:
    """Content of an object, or None while there is none."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    found = project.aws.ask("s3", "ListObjectsV2", Bucket=bucket, Prefix=key, MaxKeys=1)
    if not any(item["Key"] == key for item in found.get("Contents", [])):
        return None
    content: bytes = project.aws.ask("s3", "GetObject", Bucket=bucket, Key=key)["Body"].read()
    return content
