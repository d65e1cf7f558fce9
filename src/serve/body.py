"""The body of a request, sent with its length or in chunks, read whole within a limit."""

from flask import Request
from gunicorn.http.errors import ParseException

from ..errors import PayloadTooLarge, RequestError

_PIECE = 1 << 20
_MEGABYTE = 1 << 20


def read_body(request: Request, limit: int | None) -> bytes:
    """Read the body from the server itself: werkzeug would hand over the start of a chunked body that is too long.

    A body of up to twice the limit is read to its end before it is refused, since many clients look for the answer only
    when they have sent everything; beyond that they may find the connection closed.

    Args:
        request: the request; nothing of its body may have been read.
        limit: most bytes to take; None takes all.

    Raises:
        PayloadTooLarge: it is over the limit.
        RequestError: it ended early, or its chunks are broken.
    """
    length = request.content_length
    if length is None and "wsgi.input_terminated" not in request.environ:
        return b""
    if limit is not None and length is not None and length > 2 * limit:
        raise too_large(length, limit)
    body = bytearray()
    total = 0
    try:
        while piece := request.environ["wsgi.input"].read(_PIECE):
            total += len(piece)
            if limit is None or total <= limit:
                body += piece
            elif total > 2 * limit:
                break
    except (ParseException, OSError) as error:
        raise RequestError("The body ended early or its chunks are broken. Send it again, whole.") from error
    if limit is not None and total > limit:
        raise too_large(total, limit)
    if length is not None and total < length:
        raise RequestError(f"The body ended after {total} bytes, expected {length}. Send it again, whole.")
    return bytes(body)


def too_large(found: int, limit: int) -> PayloadTooLarge:
    """Say that a body is over the limit."""
    return PayloadTooLarge(
        f"The body has {found} bytes or more, expected at most {limit} ({limit / _MEGABYTE:g} MB). Send fewer rows in "
        f"one request, or raise SAGEMAKER_MAX_PAYLOAD_IN_MB in the model's Environment."
    )
