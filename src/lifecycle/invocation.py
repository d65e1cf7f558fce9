"""Asking an endpoint: at once, as a stream, or by way of the bucket where it answers later."""

import mimetypes
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from ..errors import TooSlow, UserError
from .aws import Document
from .project import Project
from .refusals import explained

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
    with explained(f"{operation} {name}"):
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
        if project.storage.exists(answer["OutputLocation"]):
            return project.storage.read(answer["OutputLocation"])
        if project.storage.exists(answer["FailureLocation"]):
            said = project.storage.read(answer["FailureLocation"]).decode(errors="replace")
            raise UserError(f"Endpoint {project.config.endpoint} failed: {said[:1000]}.")
        time.sleep(min(1.0, project.aws.poll_s))
    raise TooSlow(f"No answer in {answer['OutputLocation']} within an hour. See `twofold logs`.")
