"""`POST /v1/chat/completions` in OpenAI's form, for models that generate text: whole, or as server-sent events.

Source: https://platform.openai.com/docs/api-reference/chat; the path is the one that SageMaker forwards to.
"""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import chain, islice
from typing import Annotated, Any, Literal, Protocol

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import RequestError
from .invocation import Invocation, Reply
from .streams import Stream

PATH = "/v1/chat/completions"
DEFAULT_MAX_TOKENS = 256
"""Tokens of an answer to a client that names no bound."""
MAX_TOKENS = 1 << 16
_DONE = b"data: [DONE]\n\n"


class _Strict(BaseModel):
    """What is not named is ignored, as OpenAI's other parameters; what is has its type: `false` is no temperature."""

    model_config = ConfigDict(extra="ignore", strict=True)


class _Part(_Strict):
    type: Literal["text"]
    text: str


class Message(_Strict):
    """One turn of a conversation."""

    role: str
    content: str | list[_Part]

    @property
    def text(self) -> str:
        """What was said."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class _StreamOptions(_Strict):
    include_usage: bool = False


class ChatRequest(_Strict):
    """What a client asks for."""

    messages: Annotated[list[Message], Field(min_length=1)]
    model: str = ""
    stream: bool = False
    stream_options: _StreamOptions = _StreamOptions()
    max_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    n: Literal[1] = 1

    @property
    def limit(self) -> int:
        """Most tokens of the answer."""
        return self.max_completion_tokens or self.max_tokens or DEFAULT_MAX_TOKENS

    @property
    def stops(self) -> list[str]:
        """Texts before which the answer ends."""
        return [self.stop] if isinstance(self.stop, str) else [text for text in self.stop or [] if text]

    @property
    def prompt(self) -> str:
        """Return the text to go on with: the model knows no roles, so that the turns stand below each other."""
        return "\n".join(message.text for message in self.messages)


class Generated(Protocol):
    """Text as it comes, and how many tokens have gone in and come out; None where nobody counts them."""

    prompt_tokens: int | None
    completion_tokens: int | None

    def __iter__(self) -> Iterator[str]:
        """Yield the next pieces of text."""
        ...


class Generator(Protocol):
    """A model that goes on with a text; one call at a time."""

    def generate(self, request: ChatRequest, invocation: Invocation) -> Generated:
        """Begin to answer; the invocation is the request as it came.

        Raises:
            RequestError: the request cannot be answered.
        """
        ...


class ChatService:
    """Answers conversations with one model."""

    def __init__(self, generator: Generator, name: str, turn: AbstractContextManager[Any] | None = None) -> None:
        """Take the model, what it is called where the client has no name for it, and what is held while it computes."""
        self._generator, self._name = generator, name
        self._turn = turn or threading.Lock()

    def answer(self, invocation: Invocation) -> Reply:
        """Answer a conversation.

        Raises:
            RequestError: the body is no such request; the field is named.
        """
        request = read_request(invocation.body)
        answer, text = self._begin(request, invocation)
        if request.stream:
            events = _events(answer, text, usage=request.stream_options.include_usage)
            return Reply(Stream(events, self._turn, lines=False), "text/event-stream", headers=_UNBUFFERED)
        with self._turn:
            content = "".join(text)
        message = {"role": "assistant", "content": content}
        choice = {"index": 0, "message": message, "finish_reason": answer.finish}
        body = answer.head("chat.completion") | {"choices": [choice], **answer.usage}
        return Reply(orjson.dumps(body), "application/json")

    def chunks(self, message: str | bytes) -> Stream:
        """Answer a message of a WebSocket, a prompt or a request as JSON, with one object a piece of text.

        Raises:
            RequestError: the message is an object, but no such request; the field is named.
        """
        body = message.encode() if isinstance(message, str) else message
        if not body.lstrip().startswith(b"{"):
            body = orjson.dumps({"messages": [{"role": "user", "content": body.decode("utf-8", "replace")}]})
        request = read_request(body)
        answer, text = self._begin(request, Invocation(body))
        return Stream(_chunks(answer, text, usage=request.stream_options.include_usage), self._turn, lines=False)

    def _begin(self, request: ChatRequest, invocation: Invocation) -> "tuple[_Answer, Iterator[str]]":
        with self._turn:
            generated = self._generator.generate(request, invocation)
        answer = _Answer(request.model or self._name, generated, request.limit)
        return answer, _until(iter(generated), request.stops)


_UNBUFFERED = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def read_request(body: bytes) -> ChatRequest:
    """Read a request.

    Raises:
        RequestError: no JSON, or a field that is missing or wrong.
    """
    try:
        return ChatRequest.model_validate(orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise RequestError(f'The body is no JSON: {error}. Expected {{"messages": [...]}}.') from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "body"
        raise RequestError(f"{place}: {first['msg']}. Correct it as OpenAI's chat completions have it.") from error


class _Answer:
    """What all events of one answer share."""

    def __init__(self, model: str, generated: Generated, limit: int) -> None:
        self._id, self._created, self._model = f"chatcmpl-{uuid.uuid4().hex}", int(time.time()), model
        self._generated, self._limit = generated, limit

    def head(self, kind: str) -> dict[str, Any]:
        """Return the fields that every object has."""
        return {"id": self._id, "object": kind, "created": self._created, "model": self._model}

    @property
    def finish(self) -> str:
        """Why the answer has ended."""
        return "length" if (self._generated.completion_tokens or 0) >= self._limit else "stop"

    @property
    def usage(self) -> dict[str, dict[str, int]]:
        """Return the numbers of tokens as a field; nothing where they were not counted."""
        asked, made = self._generated.prompt_tokens, self._generated.completion_tokens
        if asked is None or made is None:
            return {}
        return {"usage": {"prompt_tokens": asked, "completion_tokens": made, "total_tokens": asked + made}}


def _events(answer: _Answer, text: Iterator[str], *, usage: bool) -> Iterator[bytes]:
    """Yield an answer as server-sent events, the last of them `[DONE]`."""
    for chunk in _chunks(answer, text, usage=usage):
        yield b"data: " + orjson.dumps(chunk) + b"\n\n"
    yield _DONE


def _chunks(answer: _Answer, text: Iterator[str], *, usage: bool) -> Iterator[dict[str, Any]]:
    """Yield the objects of an answer that comes in parts."""

    def chunk(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
        choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
        return answer.head("chat.completion.chunk") | {"choices": choices}

    # Before anything is out: what fails up to here is told by a status.
    first = list(islice(text, 1))
    yield chunk({"role": "assistant", "content": ""})
    for piece in chain(first, text):
        yield chunk({"content": piece})
    yield chunk({}, answer.finish)
    if usage and answer.usage:
        yield answer.head("chat.completion.chunk") | {"choices": [], **answer.usage}


def _until(pieces: Iterator[str], stops: list[str]) -> Iterator[str]:
    """Pass text on up to the first of some texts; what could be the beginning of one waits for what follows."""
    if not stops:
        yield from pieces
        return
    held = ""
    for piece in pieces:
        held += piece
        ends = [place for place in map(held.find, stops) if place >= 0]
        if ends:
            if rest := held[: min(ends)]:
                yield rest
            return
        ready = len(held) - max(_overlap(held, stop) for stop in stops)
        if ready:
            yield held[:ready]
            held = held[ready:]
    if held:
        yield held


def _overlap(text: str, stop: str) -> int:
    """Characters at the end of a text that could be the beginning of another one."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-size:])), 0)
