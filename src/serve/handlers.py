"""A user's `inference.py` as a service: its functions are called as `sagemaker-inference` calls them.

    body -> input_fn -> predict_fn -> output_fn -> answer        or transform_fn for all of it

Source: https://github.com/aws/sagemaker-inference-toolkit, src/sagemaker_inference/transformer.py
"""

import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from ..contract.endpoint import Endpoint
from ..contract.machine import gpu_here, threads_here
from ..errors import FormatError, ModelError, NotAcceptable, TwofoldError, UnsupportedMediaType
from ..formats.table import media_type
from .chat import ChatRequest, ChatService
from .combiner import Combiner
from .context import Context
from .defaults import JSON_LINES, Defaults, as_bytes
from .gateway.incoming import Incoming, Message
from .invocation import Invocation, Reply, refusal
from .streams import Stream
from .user_functions import UserFunctions, call

log = logging.getLogger(__name__)

_TEXT_TYPES = ("application/json", "text/csv")
_TOOLKIT_ERRORS = "sagemaker_inference.errors"


class HandlerService:
    """A user's functions around a model.

    The toolkit calls them in one thread, so users' code may count on that: here too only one call at a time runs in a
    process, unless the settings allow more. With `batch_predict_fn`, `input_fn` and `output_fn` run beside it and each
    other.
    """

    def __init__(self, folder: Path, functions: UserFunctions, defaults: Defaults, endpoint: Endpoint) -> None:
        """Load the model by the user's functions, before workers are forked if it can be.

        Raises:
            Exception: one of them fails.
        """
        self._folder, self._functions, self._defaults = str(folder), functions, defaults
        self._default_accept = endpoint.default_accept
        self._turn = threading.BoundedSemaphore(endpoint.handler_threads)
        self._batch = None
        if functions.batch_predict_fn:
            batch_predict, context = functions.batch_predict_fn, Context(self._folder)
            self._batch = Combiner(
                lambda inputs: call(batch_predict, (inputs, self._model), context), endpoint.handler_batch
            )
        self._loading = threading.Lock()
        self._process = 0
        """Where the model was loaded; 0 where it has to be loaded by whoever first answers."""
        self._forks = True
        """Whether the model can be used by processes that were forked after it was loaded."""
        self._model: Any = None
        if gpu_here():
            log.info("There is a GPU, whose context no fork takes along: each worker loads the model by itself")
            return
        before = threads_here()
        self._load()
        left = threads_here() - before
        if left > 0:
            log.warning(
                "The model has left %d threads running, which no fork takes along: each worker loads it again by "
                "itself. With one thread it would be loaded once, and its memory shared.",
                left,
            )
            self._forks = False

    def _load(self) -> None:
        start, functions, context = time.monotonic(), self._functions, Context(self._folder)
        if functions.pre_model_fn:
            call(functions.pre_model_fn, (self._folder,), context)
        model = call(functions.model_fn, (self._folder,), context) if functions.model_fn else self._defaults.load()
        if functions.model_warmup_fn:
            call(functions.model_warmup_fn, (self._folder, model), context)
        self._model, self._process = model, os.getpid()
        log.info("Model of %s from %s in %.2f s", functions.file, self._folder, time.monotonic() - start)

    @property
    def loads_in_workers(self) -> bool:
        """Whether each process that is forked has to load the model by itself."""
        return not (self._process and self._forks)

    def prepare(self) -> None:
        """Load the model in this process, if it is not there or did not come through the fork whole."""
        if self._process == os.getpid() or not self.loads_in_workers:
            return
        with self._loading:
            if self._process != os.getpid():
                self._load()

    def answer(self, invocation: Invocation) -> Reply:
        """Answer a request.

        Raises:
            TwofoldError: a default cannot read the request or write its answer.
            Exception: whatever the user's functions raise, but for errors of the toolkit, which become replies.
        """
        self.prepare()
        context = Context(self._folder, invocation)
        accept = invocation.accept
        if not accept or accept == "*/*":
            accept = self._default_accept
        try:
            result = self._transform(_text(invocation), invocation.content_type, accept, context)
            return self._reply(result, accept, context)
        except Exception as error:
            refused = _refused(error, invocation)
            if refused is None:
                raise
            return refusal(refused.status, str(refused))

    @property
    def chat(self) -> ChatService | None:
        """What answers conversations by the user's `chat_fn`; None without one."""
        if self._functions.chat_fn is None:
            return None
        return ChatService(self, self._functions.file, self._turn)

    def generate(self, request: ChatRequest, invocation: Invocation) -> "_Said":
        """Let the user's `chat_fn` begin to answer.

        Raises:
            Refused: an error of the toolkit's.
            Exception: whatever else the function raises.
        """
        function = self._functions.chat_fn
        if function is None:
            raise ModelError(f"{self._functions.file} defines no chat_fn.")
        self.prepare()
        context = Context(self._folder, invocation)
        context.chat_request = orjson.loads(invocation.body)
        messages = [{"role": message.role, "content": message.text} for message in request.messages]
        try:
            return _Said(call(function, (messages, self._model), context), invocation, self._functions.file)
        except Exception as error:
            raise _refused(error, invocation) or error from error

    @property
    def bidirectional(self) -> bool:
        """Whether the user has a function for WebSockets."""
        return self._functions.bidirectional_fn is not None

    def converse(self, incoming: Incoming, invocation: Invocation) -> Iterator[Message]:
        """Let the user's `bidirectional_fn` answer a client's messages; for a thread of its own.

        While it waits for a message, others have their turn.

        Raises:
            Refused: an error of the toolkit's.
            ModelError: the function is none that yields.
            Exception: whatever else the function raises.
        """
        function = self._functions.bidirectional_fn
        if function is None:
            return
        self.prepare()
        context = Context(self._folder, invocation)
        with self._turn:
            parts = call(function, (_Turns(incoming, self._turn), self._model), context)
        if not isinstance(parts, Iterator):
            raise ModelError(
                f"bidirectional_fn of {self._functions.file} returned {type(parts).__name__}. Expected a generator: "
                f"let it yield its answers."
            )
        try:
            while True:
                with self._turn:
                    part = next(parts, None)
                if part is None:
                    return
                yield _message(part)
        except Exception as error:
            raise _refused(error, invocation) or error from error
        finally:
            with self._turn:
                close = getattr(parts, "close", None)
                if close is not None:
                    close()

    def _transform(self, body: str | bytes, content_type: str, accept: str, context: Context) -> Any:  # noqa: ANN401
        functions = self._functions
        if functions.transform_fn:
            with self._turn:
                return call(functions.transform_fn, (self._model, body, content_type, accept), context)
        if self._batch is not None:
            # Not in turn: what waits for its turn cannot be in a batch.
            prediction = self._batch(self._input(body, content_type, context))
            return self._output(prediction, accept, context)
        with self._turn:
            data = self._input(body, content_type, context)
            return self._output(self._predict(data, context), accept, context)

    def _input(self, body: str | bytes, content_type: str, context: Context) -> Any:  # noqa: ANN401
        if self._functions.input_fn:
            return call(self._functions.input_fn, (body, content_type), context)
        return self._defaults.decode(body, content_type)

    def _predict(self, data: Any, context: Context) -> Any:  # noqa: ANN401
        if self._functions.predict_fn:
            return call(self._functions.predict_fn, (data, self._model), context)
        return self._defaults.predict(data, self._model)

    def _output(self, prediction: Any, accept: str, context: Context) -> Any:  # noqa: ANN401
        if self._functions.output_fn:
            return call(self._functions.output_fn, (prediction, accept), context)
        if isinstance(prediction, Iterator):
            return prediction, JSON_LINES
        return self._defaults.encode(prediction, accept)

    def _reply(self, result: Any, accept: str, context: Context) -> Reply:  # noqa: ANN401
        content_type = accept.partition(",")[0].partition(";")[0].strip()
        if isinstance(result, tuple):
            result, content_type = result[0], result[1]
        if "*" in content_type:
            content_type = self._default_accept
        body: bytes | Iterator[bytes]
        if isinstance(result, Iterator):
            body = Stream(result, self._turn, lines=media_type(content_type) == JSON_LINES)
        else:
            body = as_bytes(result)
        wish = context.request_processor[0]
        headers = {name: value for name, value in wish.response_headers.items() if name.lower() != "content-type"}
        return Reply(body, content_type, wish.status, headers)


def _text(invocation: Invocation) -> str | bytes:
    """Decode a body that is text by its type, as the toolkit does.

    Raises:
        FormatError: it is no UTF-8.
    """
    kind = media_type(invocation.content_type)
    if kind not in _TEXT_TYPES:
        return invocation.body
    try:
        return invocation.body.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"The body is no UTF-8 at byte {error.start}. Expected {kind} in UTF-8.") from error


def _refused(error: Exception, invocation: Invocation) -> "Refused | None":
    """Turn an error of the toolkit's into what it stands for; None if it is another one."""
    names = {f"{kind.__module__}.{kind.__name__}" for kind in type(error).__mro__}
    if f"{_TOOLKIT_ERRORS}.BaseInferenceToolkitError" in names:
        log.info("Refused with %s: %s", error.status_code, error.message)  # type: ignore[attr-defined]
        return Refused(int(error.status_code), str(error.message))  # type: ignore[attr-defined]
    if f"{_TOOLKIT_ERRORS}.UnsupportedFormatError" in names:
        # The toolkit has one error for both ends.
        asked = invocation.content_type
        unread = asked and asked in str(error)
        found = UnsupportedMediaType if unread else NotAcceptable
        header = f"Content-Type is {asked[:80]!r}" if unread else f"Accept is {invocation.accept[:80]!r}"
        return Refused(found.status, f"{header}, which this model does not take. Correct the header.")
    return None


class Refused(TwofoldError):
    """The user's functions refuse a request, in words that are meant for the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Said:
    """Text that a user's function returns or yields; its tokens are nobody's to count."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    def __init__(self, said: Any, invocation: Invocation, file: str) -> None:  # noqa: ANN401 - the user's
        self._said: Iterator[Any] = said if isinstance(said, Iterator) else iter((said,))
        self._invocation, self._file = invocation, file

    def __iter__(self) -> Iterator[str]:
        """Yield the pieces."""
        try:
            for piece in self._said:
                yield self._text(piece)
        except Exception as error:
            raise _refused(error, self._invocation) or error from error

    def _text(self, piece: Any) -> str:  # noqa: ANN401 - the same
        if not isinstance(piece, str):
            raise ModelError(
                f"chat_fn of {self._file} gives {type(piece).__name__}. Expected text, or a generator of text."
            )
        return piece


class _Turns:
    """A client's messages as the user's function sees them: whoever waits for one lets others have their turn."""

    def __init__(self, incoming: Incoming, turn: threading.BoundedSemaphore) -> None:
        self._incoming, self._turn = incoming, turn

    def __iter__(self) -> Iterator[Message]:
        return self

    def __next__(self) -> Message:
        self._turn.release()
        try:
            return next(self._incoming)
        finally:
            self._turn.acquire()

    def poll(self) -> Message | None:
        """Return the next message if it has come already, without waiting."""
        return self._incoming.poll()

    @property
    def closed(self) -> bool:
        """Whether no message will come any more."""
        return self._incoming.closed


def _message(part: Any) -> Message:  # noqa: ANN401 - whatever the user's function yields
    """Turn what was yielded into a message: text as text, bytes as bytes, anything else as JSON in text."""
    if isinstance(part, str):
        return part
    encoded = as_bytes(part)
    return encoded if isinstance(part, bytes | bytearray | memoryview) else encoded.decode()
