"""A model in a process of its own: what it took is free when it ends, and what breaks it breaks nobody else.

    registry -> ModelProcess ==(messages)== run -> Service

Processes are forked off a server that has imported the engine and nothing else, so they share what they do not write.
A message is JSON, or a body; nothing is unpickled of what a client sent.
"""

import contextlib
import dataclasses
import logging
import multiprocessing
import multiprocessing.util
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import orjson

from ..contract.endpoint import Endpoint
from ..contract.logs import configure
from ..errors import InsufficientMemory, ModelError, TwofoldError
from .engine import EngineSettings
from .invocation import Invocation, Reply, refusal
from .services import open_service
from .streams import BrokenStream

_PART, _END, _BROKEN, _STOP = b"p", b"e", b"b", b"s"
_GRACE = 5.0
"""Seconds for a process to end by itself."""
_KILLED = -9
_LONGEST = 107 - len("/pymp-xxxxxxxx/listener-xxxxxxxx")
"""Bytes of a folder's name with which the address of a socket below it is short enough for the kernel."""

log = logging.getLogger(__name__)

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])


def prepare_folder(temporary: Path) -> None:
    """Begin with an empty folder for temporary files: those of models, and the socket by which they are forked.

    Call it once in the server's process, before the first model; what a process before this one has left is removed.
    """
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(exist_ok=True)
    short = os.fspath(temporary)
    if len(os.fsencode(short)) > _LONGEST:
        # The same folder by another name, for as long as this process lives.
        short = f"/proc/{os.getpid()}/fd/{os.open(temporary, os.O_RDONLY | os.O_DIRECTORY)}"
    before, tempfile.tempdir = tempfile.tempdir, short
    try:
        multiprocessing.util.get_temp_dir()
    finally:
        tempfile.tempdir = before


class ProcessEnded(TwofoldError):
    """A model's process has ended while it was needed."""


class ModelProcess:
    """The side of the server: one request at a time."""

    def __init__(self, folder: Path, endpoint: Endpoint, settings: EngineSettings, temporary: Path) -> None:
        """Start a process and wait until its model is loaded; its temporary files are in a folder below `temporary`.

        Raises:
            ModelError: it cannot be loaded.
            InsufficientMemory: the process was killed.
        """
        self._connection, inner = _CONTEXT.Pipe()
        self._scratch = tempfile.mkdtemp(prefix="model-", dir=temporary)
        arguments = (inner, self._scratch, folder, endpoint, settings)
        self._process = _CONTEXT.Process(target=run, args=arguments, daemon=True)
        try:
            self._start(inner, folder, endpoint.startup_timeout)
        except BaseException:
            self.end()
            raise

    def _start(self, inner: Connection, folder: Path, timeout: float) -> None:
        with inner:
            self._process.start()
        try:
            said = orjson.loads(self.receive(timeout))
        except ProcessEnded as error:
            if self._process.exitcode == _KILLED:
                raise InsufficientMemory(
                    f"The process that loaded {folder} was killed, most likely for want of memory. Unload other "
                    f"models, or choose an instance with more."
                ) from error
            raise ModelError(f"{folder}: {error} Look for the cause in the log.") from error
        if said["error"]:
            raise ModelError(said["error"])

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid or 0

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.is_alive()

    def answer(self, invocation: Invocation) -> Reply:
        """Let the model answer; where the answer has parts, they must be read to the end, or closed.

        Raises:
            ProcessEnded: the process ended first.
        """
        head = {field.name: getattr(invocation, field.name) for field in dataclasses.fields(invocation)}
        del head["body"]
        try:
            self._connection.send_bytes(orjson.dumps(head))
            self._connection.send_bytes(invocation.body)
        except OSError as error:
            raise self._ended() from error
        told = orjson.loads(self.receive())
        body = _Parts(self) if told.pop("parts") else self.receive()
        return Reply(body=body, **told)

    def end(self) -> None:
        """End the process; its memory is free when this returns."""
        self._connection.close()
        if self._process.pid is not None:
            self._process.join(_GRACE)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def stop_parts(self) -> None:
        """Tell the process to make no more parts of its answer."""
        with contextlib.suppress(OSError):
            self._connection.send_bytes(_STOP)

    def receive(self, timeout: float | None = None) -> bytes:
        """Wait for the next message.

        Raises:
            ProcessEnded: there will be none.
            ModelError: there was none in so many seconds, and the process was killed.
        """
        try:
            if timeout is not None and not self._connection.poll(timeout):
                self._process.kill()
                raise ModelError(
                    f"The model was not loaded within {timeout:g} s. Raise SAGEMAKER_STARTUP_TIMEOUT in the model's "
                    f"Environment."
                )
            return self._connection.recv_bytes()
        except (EOFError, OSError) as error:
            raise self._ended() from error

    def _ended(self) -> ProcessEnded:
        self._process.join(_GRACE)
        return ProcessEnded(f"The model's process {self.pid} has ended with code {self._process.exitcode}.")


class _Parts:
    """The parts of an answer as they come."""

    def __init__(self, process: ModelProcess) -> None:
        self._process, self._open = process, True

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if not self._open:
            raise StopIteration
        message = self._process.receive()
        if message[:1] == _PART:
            return message[1:]
        self._open = False
        if message[:1] == _BROKEN:
            raise BrokenStream("The answer broke off; the log has the cause.")
        raise StopIteration

    def close(self) -> None:
        """Let the process end its answer; what it has sent already is thrown away."""
        if self._open:
            self._open = False
            self._process.stop_parts()
            with contextlib.suppress(ProcessEnded):
                while self._process.receive()[:1] == _PART:
                    pass


def run(connection: Connection, own: str, folder: Path, endpoint: Endpoint, settings: EngineSettings) -> None:
    """Load a model and answer until the other end closes; the side of the process, with a temporary folder `own`."""
    configure(endpoint.log_level)
    tempfile.tempdir = own
    # Where memory ends, a model is to be killed, not the server.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    try:
        service = open_service(folder, endpoint, settings)
    except TwofoldError as error:
        connection.send_bytes(orjson.dumps({"error": str(error)}))
        return
    connection.send_bytes(orjson.dumps({"error": None}))
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            head = orjson.loads(connection.recv_bytes())
            _send(connection, _answer(service, Invocation(body=connection.recv_bytes(), **head)))
    logging.shutdown()
    os._exit(0)


def _answer(service: Any, invocation: Invocation) -> Reply:  # noqa: ANN401 - a Service
    try:
        reply: Reply = service.answer(invocation)
    except Exception as error:
        code = error.status if isinstance(error, TwofoldError) else 500
        if code < 500:
            log.info("Refused with %d: %s", code, error)
            return refusal(code, str(error))
        request_id = uuid.uuid4().hex
        log.error("Request %s failed", request_id, exc_info=error)
        return refusal(code, f"The server failed to answer. Look for {request_id} in its log.")
    return reply


def _send(connection: Connection, reply: Reply) -> None:
    told = {"content_type": reply.content_type, "status": reply.status, "headers": dict(reply.headers)}
    whole = isinstance(reply.body, bytes)
    connection.send_bytes(orjson.dumps(told | {"parts": not whole}))
    if isinstance(reply.body, bytes):
        connection.send_bytes(reply.body)
        return
    parts = iter(reply.body)
    try:
        for part in parts:
            if connection.poll():
                connection.recv_bytes()
                break
            connection.send_bytes(_PART + part)
        connection.send_bytes(_END)
    except BrokenStream:
        connection.send_bytes(_BROKEN)
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            close()
