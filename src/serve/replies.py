"""Errors as a client sees them: a status and `{"error": {"code": 415, "message": "..."}}`, never a traceback."""

import logging
import uuid

import orjson
from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from ..errors import TwofoldError

log = logging.getLogger(__name__)

_MESSAGES = {
    404: "No such path, expected GET /ping or POST /invocations. Correct the URL.",
    405: "This path does not take this method, expected GET /ping or POST /invocations. Correct the method.",
}


def error_body(code: int, message: str) -> bytes:
    """Write the body; the message says what was found, what was expected and what to change."""
    return orjson.dumps({"error": {"code": code, "message": message}})


def error_reply(code: int, message: str) -> Response:
    """Build the reply."""
    return Response(error_body(code, message), status=code, content_type="application/json")


def answer_errors(app: Flask) -> None:
    """Let every error of an app end in such a reply."""
    app.register_error_handler(TwofoldError, _ours)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unexpected)


def _ours(error: TwofoldError) -> Response:
    if error.status >= 500:
        return _unexpected(error)
    log.info("Refused with %d: %s", error.status, error)
    return error_reply(error.status, str(error))


def _http(error: HTTPException) -> Response:
    code = error.code or 500
    reply = error_reply(code, _MESSAGES.get(code) or error.description or error.name)
    reply.headers.extend((name, value) for name, value in error.get_headers() if name != "Content-Type")
    return reply


def _unexpected(error: Exception) -> Response:
    """Log all there is under an id, and tell the client only the id."""
    request_id = uuid.uuid4().hex
    log.error("Request %s failed", request_id, exc_info=error)
    code = error.status if isinstance(error, TwofoldError) else 500
    return error_reply(code, f"The server failed to answer. Look for {request_id} in its log.")
