"""InvokeEndpointAsync: a request waits for a free container, its answer becomes an object, SNS tells of it."""

import json
import logging
import time
import uuid
from datetime import UTC, datetime

from werkzeug.datastructures import Headers
from werkzeug.wrappers import Response

from ..errors import ApiError, DataError
from .context import Context
from .endpoint_run import EndpointRun
from .objects import Location, locate, read, write
from .serving import Answer
from .store import Document

log = logging.getLogger(__name__)

PREFIX = "X-Amzn-SageMaker-"
DEFAULT_TIMEOUT_S = 900
DEFAULT_TTL_S = 21_600
INLINE_BYTES = 128_000
RETRY_S = 0.25


def accept(context: Context, run: EndpointRun, name: str, body: bytes, headers: Headers) -> Response:
    """Take a request in and say where its answer will be.

    Raises:
        ApiError: the endpoint is not asynchronous, or neither or both of a body and a location are given.
    """
    config = run.config.get("AsyncInferenceConfig")
    if config is None or run.pool is None:
        raise ApiError(f"Endpoint {name} has no AsyncInferenceConfig.", code="ValidationError")
    location = headers.get(f"{PREFIX}InputLocation")
    if bool(location) == bool(body) or len(body) > INLINE_BYTES:
        raise ApiError(
            f"Expected either InputLocation or a Body of at most {INLINE_BYTES} bytes.", code="ValidationError"
        )
    for refused in ("S3OutputPathExtension", "Filename"):
        if headers.get(f"{PREFIX}{refused}"):
            raise ApiError(f"{refused} is not rehearsed.", code="NotRehearsed")
    output, number = config["OutputConfig"], str(uuid.uuid4())
    inference = headers.get(f"{PREFIX}Inference-Id") or str(uuid.uuid4())
    result = locate(output["S3OutputPath"]) / f"{number}.out"
    failure = locate(output.get("S3FailurePath") or output["S3OutputPath"]) / f"{number}-error.out"
    request: Document = {
        "location": location,
        "body": body,
        "result": result,
        "failure": failure,
        "inference": inference,
        "headers": _for_the_container(headers),
        "timeout": int(headers.get(f"{PREFIX}InvocationTimeoutSeconds", DEFAULT_TIMEOUT_S)),
        "deadline": time.monotonic() + int(headers.get(f"{PREFIX}RequestTTLSeconds", DEFAULT_TTL_S)),
        "received": _now(),
    }
    run.pool.submit(_answer, context, run, name, request)
    return Response(
        json.dumps({"InferenceId": inference}),
        status=202,
        content_type="application/json",
        headers={f"{PREFIX}OutputLocation": str(result), f"{PREFIX}FailureLocation": str(failure)},
    )


def _answer(context: Context, run: EndpointRun, name: str, request: Document) -> None:
    """Do the work; nobody waits for what a thread of a pool raises, so it is logged."""
    try:
        _work(context, run, name, request)
    except Exception:
        log.exception("asynchronous invocation of endpoint %s", name)


def _work(context: Context, run: EndpointRun, name: str, request: Document) -> None:
    """Ask a container and put its answer where the client was told."""
    try:
        body = read(context.clients.s3, locate(request["location"])) if request["location"] else request["body"]
        found = _ask(run, body, request)
    except (ApiError, DataError) as error:
        found = Answer(0, {}, str(error).encode())
    good = 200 <= found.status < 300
    place: Location = request["result" if good else "failure"]
    kind = found.headers.get("content-type", "text/plain")
    write(context.clients.s3, place, found.body, ContentType=kind)
    output = run.config["AsyncInferenceConfig"]["OutputConfig"].get("NotificationConfig", {})
    if topic := output.get("SuccessTopic" if good else "ErrorTopic"):
        message = {
            "awsRegion": context.region,
            "eventTime": _now(),
            "receivedTime": request["received"],
            "invocationStatus": "Completed" if good else "Failed",
            "requestParameters": {
                "contentType": request["headers"].get("Content-Type", ""),
                "endpointName": name,
                "inputLocation": request["location"],
            },
            "responseParameters": {"contentType": kind, "outputLocation": str(place)},
            "inferenceId": request["inference"],
            "eventVersion": "1.0",
            "eventSource": "aws:sagemaker",
            "eventName": "InferenceResult",
        }
        context.clients.sns.publish(TopicArn=topic, Message=json.dumps(message))


def _ask(run: EndpointRun, body: bytes, request: Document) -> Answer:
    """Ask a healthy container, as soon as there is one; ApiError when the request's time is over before."""
    while True:
        variant, fleet = run.choose(None)
        try:
            with fleet.server() as server:
                began = time.monotonic()
                found = server.ask(body, request["headers"], request["timeout"], model=None, container=None)
                run.count(variant, {"ModelLatency": ((time.monotonic() - began) * 1e6, "Microseconds")})
                return found
        except ApiError:
            if time.monotonic() > request["deadline"]:
                raise
            time.sleep(RETRY_S)


def _for_the_container(headers: Headers) -> dict[str, str]:
    names = {
        "Content-Type": f"{PREFIX}Content-Type",
        "Accept": f"{PREFIX}Accept",
        f"{PREFIX}Custom-Attributes": f"{PREFIX}Custom-Attributes",
        f"{PREFIX}Inference-Id": f"{PREFIX}Inference-Id",
    }
    return {name: headers[source] for name, source in names.items() if headers.get(source)}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
