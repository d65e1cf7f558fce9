"""The runtime API: InvokeEndpoint, with a response stream, and asynchronously."""

import http.client
import json
import logging
import re
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from werkzeug.wrappers import Request, Response

from ..errors import ApiError
from . import asynchronous, eventstream
from .aws import ACCOUNT
from .context import Context
from .endpoint_run import KIND, EndpointRun
from .fleet import Fleet
from .serving import Answer

log = logging.getLogger(__name__)

REALTIME_TIMEOUT_S = 60.0
STREAM_TIMEOUT_S = 480.0
REALTIME_BYTES = 25 << 20
SERVERLESS_BYTES = 4 << 20
MESSAGE_CHARACTERS = 1024
PIECE = 1 << 16

PATH = re.compile(r"/endpoints/([^/]+)/(invocations|invocations-response-stream|async-invocations)")
_ROUTING = "X-Amzn-Sagemaker-Target-Variant"
_MODEL, _CONTAINER = "X-Amzn-SageMaker-Target-Model", "X-Amzn-SageMaker-Target-Container-Hostname"
_REFUSED = (
    "Enable-Explanations",
    "Inference-Component",
    "Prefix-Aware-Id",
)
_BACK = ("custom-attributes", "new-session-id", "closed-session-id")


class Call(NamedTuple):
    """A request that has found its variant."""

    run: EndpointRun
    name: str
    variant: str
    fleet: Fleet
    body: bytes
    headers: dict[str, str]
    """What the container sees."""
    model: str | None
    """Model of a multi-model endpoint that is asked."""
    container: str | None
    """Container that is asked, where requests choose one."""


def answer(context: Context, request: Request) -> Response:
    """Answer one call of the runtime API."""
    try:
        return _answer(context, request)
    except ApiError as error:
        return _refusal(error.code, error.status, {"Message": str(error)})


def _answer(context: Context, request: Request) -> Response:
    if request.path.endswith("/invocations-bidirectional-stream"):
        raise ApiError(
            "InvokeEndpointWithBidirectionalStream is not rehearsed: it is HTTP/2 on a port of its own. Ask a "
            "container of the image by its WebSocket /invocations-bidirectional-stream.",
            code="NotRehearsed",
        )
    match = PATH.fullmatch(request.path)
    if match is None or request.method != "POST":
        raise ApiError(f"{request.method} {request.path} is no call of the runtime API.", code="NotRehearsed")
    call = _prepare(context, match.group(1), request)
    if match.group(2) == "async-invocations":
        return asynchronous.accept(context, call.run, call.name, call.body, request.headers)
    if call.run.config.get("AsyncInferenceConfig"):
        raise ApiError(f"Endpoint {call.name} is asynchronous: call InvokeEndpointAsync.", code="ValidationError")
    return _stream(context, call) if match.group(2).endswith("stream") else _invoke(context, call)


def _prepare(context: Context, name: str, request: Request) -> Call:
    endpoint, run = context.store.find(KIND, name), context.run(KIND, name)
    if endpoint is None or not isinstance(run, EndpointRun):
        raise ApiError(f"Endpoint {name} of this rehearsal was not found.", code="ValidationError")
    for refused in _REFUSED:
        if f"X-Amzn-SageMaker-{refused}" in request.headers:
            raise ApiError(f"The header X-Amzn-SageMaker-{refused} is not rehearsed.", code="NotRehearsed")
    variant, fleet = run.choose(request.headers.get(_ROUTING))
    body, limit = request.get_data(), SERVERLESS_BYTES if fleet.serverless else REALTIME_BYTES
    if len(body) > limit:
        raise ApiError(f"The body has {len(body)} bytes, expected at most {limit}.", code="ValidationError")
    headers = {
        key: value
        for key, value in request.headers.items()
        if key.lower().startswith("x-amzn-sagemaker-") and key not in (_ROUTING, _CONTAINER.title())
    }
    accept = request.headers.get("X-Amzn-SageMaker-Accept") or request.headers.get("Accept")
    named = {"Content-Type": request.headers.get("Content-Type"), "Accept": accept}
    headers |= {key: value for key, value in named.items() if value}
    model, container = request.headers.get(_MODEL), request.headers.get(_CONTAINER)
    return Call(run, name, variant, fleet, body, headers, model, container)


def _invoke(context: Context, call: Call) -> Response:
    if (shadow := call.run.shadow()) is not None:
        call.run.listening.submit(_listen, call._replace(variant=shadow[0], fleet=shadow[1]))
    found = _ask(call)
    if not 200 <= found.status < 300:
        return _model_error(context, call, found)
    kind = found.headers.get("content-type", "")
    return Response(found.body, headers=_answer_headers(call, found.headers) | {"Content-Type": kind})


def _listen(call: Call) -> None:
    """Ask the shadow variant; its answer is counted and captured, and nobody gets it."""
    try:
        _ask(call)
    except ApiError as error:
        log.info("shadow variant %s of endpoint %s: %s", call.variant, call.name, error)


def _ask(call: Call) -> Answer:
    """Have a variant answer; the call is counted and captured."""
    began = time.monotonic()
    with call.fleet.server() as server:
        asked = time.monotonic()
        found = server.ask(call.body, call.headers, REALTIME_TIMEOUT_S, model=call.model, container=call.container)
        latency = time.monotonic() - asked
    _count(call, found.status, latency, time.monotonic() - began - latency)
    call.run.capture.add(
        call.variant,
        (call.headers.get("Content-Type", ""), call.body),
        (found.headers.get("content-type", ""), found.body) if 200 <= found.status < 300 else None,
        call.headers,
    )
    return found


def _stream(context: Context, call: Call) -> Response:
    serving = call.fleet.server()
    server = serving.__enter__()
    try:
        connection, response = server.send(call.body, call.headers, STREAM_TIMEOUT_S, container=call.container)
    except ApiError:
        serving.__exit__(None, None, None)
        raise
    except (OSError, http.client.HTTPException) as error:
        serving.__exit__(None, None, None)
        return _model_error(context, call, Answer(0, {}, f"no answer: {error}".encode()))
    headers = {name.lower(): value for name, value in response.getheaders()}
    if response.status >= 300:
        found = Answer(response.status, headers, response.read())
        connection.close()
        serving.__exit__(None, None, None)
        return _model_error(context, call, found)

    def parts() -> Iterator[bytes]:
        began = time.monotonic()
        try:
            while piece := response.read1(PIECE):
                yield eventstream.event("PayloadPart", piece)
        except (OSError, http.client.HTTPException) as error:
            text = {"Message": f"The container broke off: {error}", "ErrorCode": "StreamBroken"}
            yield eventstream.exception("ModelStreamError", json.dumps(text).encode())
        finally:
            connection.close()
            serving.__exit__(None, None, None)
            _count(call, response.status, time.monotonic() - began, 0.0)

    shown = _answer_headers(call, headers) | {
        "Content-Type": eventstream.TYPE,
        "X-Amzn-SageMaker-Content-Type": headers.get("content-type", ""),
    }
    return Response(parts(), headers=shown)


def _answer_headers(call: Call, found: Mapping[str, str]) -> dict[str, str]:
    back = {
        f"X-Amzn-SageMaker-{name}": found[f"x-amzn-sagemaker-{name}"]
        for name in _BACK
        if f"x-amzn-sagemaker-{name}" in found
    }
    return {"x-Amzn-Invoked-Production-Variant": call.variant, **back}


def _count(call: Call, status: int, latency_s: float, overhead_s: float) -> None:
    failed = not 200 <= status < 300
    call.run.count(
        call.variant,
        {
            "Invocations": (1, "Count"),
            "InvocationsPerInstance": (1 / max(1, call.fleet.count), "None"),
            "Invocation4XXErrors": (int(400 <= status < 500), "Count"),
            "Invocation5XXErrors": (int(failed and not 400 <= status < 500), "Count"),
            "InvocationModelErrors": (int(failed), "Count"),
            "ModelLatency": (latency_s * 1e6, "Microseconds"),
            "OverheadLatency": (overhead_s * 1e6, "Microseconds"),
        },
    )


def _model_error(context: Context, call: Call, found: Answer) -> Response:
    text = found.body.decode("utf-8", errors="replace")[:MESSAGE_CHARACTERS]
    group = f"/aws/sagemaker/Endpoints/{call.name}"
    return _refusal(
        "ModelError",
        424,
        {
            "Message": f'Received status {found.status} from the model with message "{text}". See {group}.',
            "OriginalStatusCode": found.status,
            "OriginalMessage": text,
            "LogStreamArn": f"arn:aws:logs:{context.region}:{ACCOUNT}:log-group:{group}:log-stream:{call.fleet.stream}",
        },
    )


def _refusal(code: str, status: int, body: dict[str, object]) -> Response:
    return Response(
        json.dumps(body), status=status, content_type="application/json", headers={"x-amzn-ErrorType": code}
    )
