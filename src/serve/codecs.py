"""From the bytes of a request to rows that fit the model, and from predictions to the form that the client wants."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from ..errors import ConfigError, FormatError, NotAcceptable, RequestError, UnsupportedMediaType
from ..formats.rows import Labels, Rows, RowShape
from ..formats.table import JSON, MEDIA_TYPES, WRITTEN, by_media_type, media_type

_UNTYPED = frozenset({"", "application/octet-stream"})
_TEXT = "text/"


@dataclass(frozen=True, slots=True)
class Answer:
    """In what form an answer goes out."""

    encode: Callable[[Rows, Labels | None], bytes]
    """Writes it."""
    content_type: str
    """Its Content-Type: the name that the client used for the format."""


def read_rows(body: bytes, content_type: str, row_shape: RowShape) -> Rows:
    """Decode a request into at least one row `[n, *row_shape]`.

    Without a Content-Type, or with `application/octet-stream`, which says as little, a body is read as JSON, as the
    inference toolkit does.

    Raises:
        UnsupportedMediaType: nothing here reads this type.
        FormatError: the body is not what its type says, or not what the model takes; the place is named.
        RequestError: there is no row in it.
    """
    untyped = media_type(content_type) in _UNTYPED
    decoder = JSON if untyped else by_media_type(content_type)
    if decoder is None:
        raise UnsupportedMediaType(
            f"Content-Type is {content_type[:80]!r}, expected one of: {', '.join(MEDIA_TYPES)}. Correct the header."
        )
    if not body:
        raise RequestError(f"The body is empty, expected at least one row as {decoder.name}.")
    try:
        rows = decoder.decode_rows(body, row_shape)
    except FormatError as error:
        if untyped:
            error.args = (f"{error} The request named no Content-Type, so the body was read as JSON.",)
        raise
    if not len(rows):
        raise RequestError(f"The body has no row, expected at least one as {decoder.name}.")
    return rows


def default_answer(setting: str) -> Answer:
    """Form of answers to clients that do not care.

    Raises:
        ConfigError: nothing here writes this type.
    """
    if media_type(setting) not in WRITTEN:
        raise ConfigError(
            f"SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT is {setting!r}, expected one of: {', '.join(WRITTEN)}. Change "
            f"it in the model's Environment."
        )
    return _answer(media_type(setting))


@lru_cache(maxsize=256)
def choose_answer(accept: str, default: Answer) -> Answer:
    """Pick the form of an answer by an Accept header; `*/*` or an empty one leaves it to the default.

    The highest q wins; among equals the more specific range, then the one named first. `q=0` forbids a type.

    Raises:
        NotAcceptable: nothing that is asked for can be written.
    """
    ranges = [(media_type(value), quality) for value, quality in parse_accept_header(accept, MIMEAccept)]
    if not ranges:
        return default
    candidates = [media_type(default.content_type), *WRITTEN]
    best = max(candidates, key=lambda candidate: _preference(candidate, ranges))
    if _preference(best, ranges)[0] <= 0:
        raise NotAcceptable(
            f"Accept is {accept[:80]!r}, expected one of: {', '.join(WRITTEN)}. Correct the header or leave it out."
        )
    return _answer(best)


def _preference(candidate: str, ranges: list[tuple[str, float]]) -> tuple[float, int, int]:
    """How much a client wants a media type: quality, how specific the range is that matches, how early it stands."""
    masks = {candidate: 2, candidate.partition("/")[0] + "/*": 1, "*/*": 0}
    matches = [(masks[mask], -place, quality) for place, (mask, quality) in enumerate(ranges) if mask in masks]
    if not matches:
        return 0.0, 0, 0
    specific, early, quality = max(matches)
    return quality, specific, early


def _answer(name: str) -> Answer:
    return Answer(WRITTEN[name], f"{name}; charset=utf-8" if name.startswith(_TEXT) else name)
