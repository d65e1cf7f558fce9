"""The web application: `/ping` and `/invocations`.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
"""

import tempfile
from pathlib import Path
from typing import Any

from flask import Flask, Response, request

from ..contract.endpoint import Endpoint
from ..contract.machine import cpus
from ..contract.paths import scratch
from .body import read_body
from .chat import PATH as CHAT_PATH
from .chat import ChatService
from .gateway.reply import CUSTOM_ATTRIBUTES
from .invocation import Invocation, Service
from .openapi import PATH as OPENAPI_PATH
from .openapi import describe
from .page import add_page
from .replies import answer_errors
from .rows_service import RowsService
from .sessions import Sessions, SessionService
from .transforms import PATH as TRANSFORMS_PATH
from .transforms import parameters


def create_app(service: Service, endpoint: Endpoint) -> Flask:
    """Put a loaded model behind HTTP."""
    app = bare_app()
    in_sessions = SessionService(service, _sessions(endpoint))

    @app.post("/invocations")
    def invocations() -> Response:
        return respond(in_sessions, read_invocation(endpoint))

    @app.get(TRANSFORMS_PATH)
    def execution_parameters() -> dict[str, int | str]:
        return parameters(endpoint, endpoint.workers or cpus())

    chat = getattr(service, "chat", None)
    if isinstance(chat, ChatService):

        @app.post(CHAT_PATH)
        def completions() -> Response:
            return respond(chat, read_invocation(endpoint))

    manifest = service.model.manifest if isinstance(service, RowsService) else None

    @app.get(OPENAPI_PATH)
    def openapi() -> dict[str, Any]:
        return describe(endpoint, manifest, chat=isinstance(chat, ChatService))

    if endpoint.page:
        add_page(app)
    return app


def _sessions(endpoint: Endpoint) -> Sessions | None:
    if not endpoint.stateful_sessions:
        return None
    # Not in /dev/shm, as AWS's own containers: it may be missing, and is small.
    folder = Path(endpoint.sessions_path) if endpoint.sessions_path else Path(tempfile.mkdtemp(dir=scratch()))
    return Sessions(folder, endpoint.sessions_lifetime)


def bare_app() -> Flask:
    """Build what every application has: `/ping`, errors as JSON, the client's attributes sent back."""
    app = Flask("twofold.serve", static_folder=None)
    answer_errors(app)

    @app.route("/ping", methods=["GET", "POST"])
    def ping() -> Response:
        # The server listens only after the model has answered its warm-up row, so whoever gets here may say yes.
        response = Response(status=200)
        del response.headers["Content-Type"]
        return response

    @app.after_request
    def echo(response: Response) -> Response:
        attributes = request.headers.get(CUSTOM_ATTRIBUTES)
        if attributes and CUSTOM_ATTRIBUTES not in response.headers:
            response.headers[CUSTOM_ATTRIBUTES] = attributes
        return response

    return app


def read_invocation(endpoint: Endpoint) -> Invocation:
    """Read the request that Flask has in hand.

    Raises:
        RequestError: its body is too large or broken.
    """
    return Invocation(
        read_body(request, endpoint.max_payload_bytes),
        request.headers.get("Content-Type", ""),
        request.headers.get("Accept", ""),
        dict(request.headers),
    )


def respond(service: Service, invocation: Invocation) -> Response:
    """Let a service answer, in parts where it makes parts."""
    reply = service.answer(invocation)
    return Response(reply.body, reply.status, dict(reply.headers), content_type=reply.content_type)
