"""What a WebSocket is answered with: a user's `bidirectional_fn`, a `gpt`'s text as it comes, else a request a message.

The platform passes on a client's query string, but none of its headers: types may stand in either.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/realtime-endpoints.html, bidirectional streaming
"""

from collections.abc import Iterator
from contextlib import closing
from urllib.parse import parse_qs

from ..errors import Overloaded, TwofoldError
from .access import named
from .gateway.head import Head
from .gateway.incoming import Incoming, Message
from .gateway.websocket import Farewell, Talk
from .handlers import HandlerService, Refused
from .invocation import Invocation, Service
from .replies import error_body, told
from .rows_service import RowsService
from .streams import BrokenStream

PATH = "/invocations-bidirectional-stream"

_JSON = "application/json"
_WRITTEN_AS_TEXT = ("text/", _JSON, "application/jsonlines")
_POLICY, _INTERNAL, _TRY_LATER = 1008, 1011, 1013


def talk_with(service: Service) -> Talk:
    """Choose how a loaded model answers those who talk to it."""
    if isinstance(service, HandlerService) and service.bidirectional:
        return lambda incoming, head: _own(service, incoming, head)
    return lambda incoming, head: _by_message(service, incoming, head)


def _own(service: HandlerService, incoming: Incoming, head: Head) -> Iterator[Message]:
    """Yield what the user's function yields; its error ends the connection."""
    try:
        yield from service.converse(incoming, _invocation(b"", head, ""))
    except Refused as error:
        raise Farewell(_code(error), str(error)) from error
    except Exception as error:
        answer = told(error, named(head))
        raise Farewell(_code(answer), str(answer)) from error


def _by_message(service: Service, incoming: Incoming, head: Head) -> Iterator[Message]:
    """Yield the answer to each message; one that is bad is told so, and the next one may be better."""
    for message in incoming:
        try:
            yield from _answer(service, message, head)
        except BrokenStream:
            # Its last part has told the client.
            continue
        except Exception as error:  # noqa: BLE001  whatever goes wrong is the answer
            answer = told(error, named(head))
            yield error_body(answer.status, str(answer)).decode()


def _answer(service: Service, message: Message, head: Head) -> Iterator[Message]:
    if isinstance(service, RowsService) and service.chat is not None:
        with closing(service.chat.chunks(message)) as parts:
            for part in parts:
                yield part.decode()
        return
    body, kind = (message.encode(), _JSON) if isinstance(message, str) else (message, "")
    reply = service.answer(_invocation(body, head, kind))
    text = reply.content_type.startswith(_WRITTEN_AS_TEXT)
    if isinstance(reply.body, bytes):
        yield reply.body.decode() if text else reply.body
        return
    try:
        for part in reply.body:
            yield part.decode() if text else part
    finally:
        reply.body.close()  # type: ignore[attr-defined]  # every reply's parts have it


def _invocation(body: bytes, head: Head, kind: str) -> Invocation:
    """Make a request of a message: types by the query, then by the headers of the handshake, then by its kind."""
    query = parse_qs(head.query)

    def wish(name: str, default: str) -> str:
        return query.get(name, [default])[0]

    content_type = wish("content-type", head.content_type or kind)
    return Invocation(body, content_type, wish("accept", head.accept), dict(head.headers))


def _code(error: TwofoldError) -> int:
    if isinstance(error, Overloaded):
        return _TRY_LATER
    return _POLICY if error.status < 500 else _INTERNAL
