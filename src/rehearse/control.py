"""SageMaker's own protocol: JSON bodies, the operation in a header."""

import json
import logging

from werkzeug.wrappers import Request, Response

from ..errors import ApiError, TwofoldError
from . import shapes
from .context import Context
from .operations import TABLE

log = logging.getLogger(__name__)

PREFIX = "SageMaker."
TYPE = "application/x-amz-json-1.1"


def answer(context: Context, request: Request) -> Response:
    """Answer one call of the control plane."""
    operation = request.headers.get("X-Amz-Target", "").removeprefix(PREFIX)
    try:
        body = json.loads(request.get_data() or b"{}")
        return Response(json.dumps(call(context, operation, body)), content_type=TYPE)
    except ApiError as error:
        return refusal(error)
    except json.JSONDecodeError as error:
        return refusal(ApiError(f"The body is no JSON: {error}.", code="SerializationException"))
    except TwofoldError as error:
        return refusal(ApiError(str(error), code="ValidationException"))


def call(context: Context, operation: str, request: dict[str, object]) -> dict[str, object]:
    """Check a request, do it, and cut the answer to the operation's shape.

    Raises:
        ApiError: it is not rehearsed, or AWS would not take it either.
    """
    if operation not in shapes.service().operation_names:
        raise ApiError(f"SageMaker has no operation {operation!r}.", code="UnknownOperationException")
    if operation not in TABLE:
        raise ApiError(
            f"{operation} is not rehearsed. docs/fidelity.md lists what is; for the rest there is AWS.",
            code="NotRehearsed",
        )
    context.weather.on_sagemaker()
    shapes.check(operation, request)
    TABLE[operation].refuse(operation, request)
    log.info("%s", operation)
    return shapes.answer(operation, TABLE[operation].call(context, request))


def refusal(error: ApiError) -> Response:
    """An error as clients of a JSON protocol read it."""
    body = {"__type": error.code, "message": str(error), "Message": str(error)}
    return Response(json.dumps(body), status=error.status, content_type=TYPE, headers={"x-amzn-ErrorType": error.code})
