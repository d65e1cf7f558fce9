"""One address for all services: SageMaker is ours, a few others are moto's, the rest is refused by name."""

import io
import re
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from flask import Flask
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.wrappers import Request, Response

from ..errors import ApiError
from . import console, control, faults, invoke, scaling
from .context import Context

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

OF_MOTO = {
    scaling.SERVICE: "target-tracking policies of InvocationsPerInstance, which real instances follow: more after 3 "
    "minutes over the target, fewer after 15 under it; nothing else of the service; gone with the rehearsal",
    "cloudwatch": "CloudWatch metrics",
    "monitoring": "CloudWatch metrics",
    "ecr": "image repositories, without images",
    "iam": "roles and policies, which nobody checks",
    "logs": "CloudWatch Logs",
    "s3": "buckets and objects, in memory",
    "sns": "topics",
    "sqs": "queues, to receive what topics send",
    "sts": "who am I, assumed roles",
}
"""Services that moto answers, by the name in a request's signature."""
RUNTIME = {
    "InvokeEndpoint": (
        "variants, TargetModel, TargetContainerHostname, shadows, 60 s, 25 MB (4 serverless), ModelError, data capture",
        "no inference components, explanations; sessions are not sticky",
    ),
    "InvokeEndpointWithResponseStream": (
        "event-stream framing, parts as they come, 8 minutes",
        "not captured, no copy to the shadow variant; of one container and model",
    ),
    "InvokeEndpointAsync": (
        "S3 or inline input, result and failure objects, SNS notices, time-out, time to live, concurrency",
        "no S3OutputPathExtension or Filename; no backlog metrics; what waits is lost when the rehearsal ends",
    ),
}
"""Operations of the runtime API: what is as on AWS, and what differs."""
_SCOPE = re.compile(r"Credential=[^/,]+/\d{8}/[^/,]+/([^/,]+)/aws4_request")


class Front:
    """The WSGI application."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(_application)
        self._console = console.Console()
        self.s3_changed = threading.Event()
        """Set by whatever may change a bucket or an object."""
        self.context: Context | None = None
        """Set once the address is known, before anybody asks."""

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer a request of any service."""
        service = _service(environ)
        if self.context is not None and (ours := self._before(self.context, environ, service)) is not None:
            return ours(environ, start_response)
        if service in OF_MOTO:
            try:
                found: Iterable[bytes] = self._moto(environ, start_response)
            except NotImplementedError as error:
                return _not_in_moto(environ, service, error)(environ, start_response)
            if service == "s3" and environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
                self.s3_changed.set()
            return found
        return self._ours(Request(environ), service)(environ, start_response)

    def _before(self, context: Context, environ: dict[str, Any], service: str) -> Response | None:
        """What is answered before a service sees it: doors of our own, faults, refusals; else None."""
        if environ.get("PATH_INFO") == faults.PATH:
            return faults.answer(context, Request(environ))
        if (page := self._page(context, environ)) is not None:
            return page
        if service == scaling.SERVICE:
            return self._refuse_scaling(context, environ)
        return context.weather.on_s3(environ) if service == "s3" else None

    def _page(self, context: Context, environ: dict[str, Any]) -> Response | None:
        """What a browser gets, or None: no bucket can have the console's name, and nobody signs for a page."""
        request = Request(environ)
        if "HTTP_AUTHORIZATION" in environ:
            return None
        if request.path == "/" and request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
            return Response(status=303, headers={"Location": console.PATH})
        return self._console.answer(context, request) if request.path.startswith(console.PATH) else None

    def _refuse_scaling(self, context: Context, environ: dict[str, Any]) -> Response | None:
        """Refusal of a request on auto-scaling, or None; moto reads the body after us."""
        request = Request(environ)
        body = request.get_data()
        environ["wsgi.input"] = io.BytesIO(body)
        try:
            scaling.check(context, request.headers.get("X-Amz-Target", ""), body)
        except ApiError as error:
            return control.refusal(error)
        except (ValueError, KeyError) as error:
            return control.refusal(ApiError(f"The request is broken: {error!r}.", code="ValidationException"))
        return None

    def _ours(self, request: Request, service: str) -> Response:
        if self.context is None:
            return control.refusal(
                ApiError("The rehearsal is starting or ending.", code="ServiceUnavailable", status=503)
            )
        if service == "sagemaker" and request.headers.get("X-Amz-Target", "").startswith(control.PREFIX):
            return control.answer(self.context, request)
        if service == "sagemaker" and request.path.startswith("/endpoints/"):
            return invoke.answer(self.context, request)
        return control.refusal(
            ApiError(
                f"{request.method} {request.path} of the service {service!r} is not rehearsed. Rehearsed are sagemaker "
                f"and {', '.join(OF_MOTO)}.",
                code="NotRehearsed",
            )
        )


def _application(service: Any) -> Flask:  # noqa: ANN401 - moto's own literal of all its services
    """Moto's application of a service; what it has not implemented comes out as the exception that it raises."""
    application = create_backend_app(service)
    application.config["PROPAGATE_EXCEPTIONS"] = True
    return application


def _not_in_moto(environ: dict[str, Any], service: str, error: NotImplementedError) -> Response:
    """Refuse in the form that clients of the service read: JSON where the operation is named in a header, else XML."""
    refused = ApiError(f"{service}: {error}. It is not rehearsed.", code="NotRehearsed")
    if "HTTP_X_AMZ_TARGET" in environ:
        return control.refusal(refused)
    detail = f"<Code>{refused.code}</Code><Message>{escape(str(refused))}</Message>"
    text = f"<ErrorResponse><Error>{detail}</Error></ErrorResponse>"
    return Response(text, status=refused.status, content_type="text/xml")


def _service(environ: dict[str, Any]) -> str:
    """Name of the service that a request is signed for; unsigned ones are taken for S3's, which has public objects."""
    signed = environ.get("HTTP_AUTHORIZATION", "")
    if not signed:
        (credential, *_) = parse_qs(environ.get("QUERY_STRING", "")).get("X-Amz-Credential", [""])
        signed = f"Credential={credential}"
    match = _SCOPE.search(signed)
    return match.group(1).lower() if match else "s3"
