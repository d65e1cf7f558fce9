"""Errors as a client sees them: a status and `{"error": {"code": 415, "message": "..."}}`, never a traceback."""

import logging
import uuid

import orjson
from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from ..errors import Overloaded, TooSlow, TwofoldError

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
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _any)


def told(error: Exception, request: str = "") -> TwofoldError:
    """What a client is told of an error; what is not meant for it goes to the log under an id.

    Args:
        error: what went wrong.
        request: words of the client's that name its request, for the log.
    """
    if isinstance(error, Overloaded | TooSlow):
        # Told by the metrics: a line for each would make an overload worse.
        return error
    if isinstance(error, TwofoldError) and error.status < 500:
        log.info("Refused %swith %d: %s", f"{request} " if request else "", error.status, error)
        return error
    request_id = uuid.uuid4().hex
    log.error("Request %s failed", f"{request_id} {request}".rstrip(), exc_info=error)
    hidden = TwofoldError(f"The server failed to answer. Look for {request_id} in its log.")
    hidden.status = error.status if isinstance(error, TwofoldError) else 500
    return hidden


def _any(error: Exception) -> Response:
    answer = told(error)
    reply = error_reply(answer.status, str(answer))
    if isinstance(answer, Overloaded):
        reply.headers["Retry-After"] = str(answer.retry_after)
    return reply


def _http(error: HTTPException) -> Response:
    code = error.code or 500
    reply = error_reply(code, _MESSAGES.get(code) or error.description or error.name)
    reply.headers.extend((name, value) for name, value in error.get_headers() if name != "Content-Type")
    return reply
