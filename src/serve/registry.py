"""The models of a multi-model endpoint: loaded and unloaded while others answer, within a measured memory.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/mms-container-apis.html
"""

import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import orjson

from ..contract.endpoint import Endpoint
from ..contract.machine import memory_total, private_memory
from ..errors import AlreadyLoaded, InsufficientMemory, NotLoaded, Overloaded, RequestError, TooSlow
from .engine import EngineSettings
from .invocation import Invocation, Reply
from .model_process import ModelProcess, ProcessEnded, prepare_folder

_SHARE = 0.85
"""Of all memory that models may take: the rest is for the server and for requests."""
_WAITING = 16
"""Requests that may wait for one model, so that it cannot take every thread."""

log = logging.getLogger(__name__)


class Entry:
    """A model by its name."""

    def __init__(self, name: str, url: str) -> None:
        self.name, self.url = name, url
        self.ready = False
        """Whether it has been loaded; until then it is not there for others."""
        self.process: ModelProcess | None = None
        """Where it is; None until it is needed, after the server has lost it."""
        self.memory: int | None = 0
        """Bytes that it takes; before it is loaded, at least; None where it may have grown since it was measured."""
        self.turn = threading.Lock()
        """Held for the time of a request, and to unload."""
        self.waiting = 0


class Registry:
    """All models, by name; safe to use from several threads of one process."""

    def __init__(self, endpoint: Endpoint, settings: EngineSettings, folder: Path) -> None:
        """Begin with no model; make it before the server's process is forked.

        `folder` is for the models' temporary files; what is in it is thrown away.
        """
        self._endpoint, self._settings, self._folder = endpoint, settings, folder
        self._budget = endpoint.models_memory_bytes
        if self._budget is None:
            self._budget = int(memory_total() * _SHARE)
        self._entries: dict[str, Entry] = {}
        self._lock = threading.Lock()
        self._process = os.getpid()
        # Of a server process that dies, the one in its place takes over which models there are.
        self._kept = os.memfd_create("twofold-models")

    def load(self, name: str, url: str) -> None:
        """Load a model folder under a name.

        Raises:
            AlreadyLoaded: there is one of this name.
            InsufficientMemory: it does not fit.
            RequestError: there is no such folder.
            ModelError: it cannot be loaded.
        """
        if not _is_folder(url):
            raise RequestError(f"url is {url[:200]!r}, expected a model folder. Correct it.")
        entry = Entry(name, url)
        with self._lock:
            self._take_over()
            if name in self._entries:
                raise AlreadyLoaded(f"A model called {name!r} is loaded already. Unload it first.")
            self._entries[name] = entry
        try:
            with entry.turn:
                entry.process = self._start(entry)
        except BaseException:
            with self._lock:
                del self._entries[name]
            raise
        with self._lock:
            entry.ready = True
            self._keep()

    def get(self, name: str) -> Entry:
        """Return a model.

        Raises:
            NotLoaded: there is none of this name.
        """
        with self._lock:
            self._take_over()
            entry = self._entries.get(name)
            if entry is None or not entry.ready:
                raise NotLoaded(f"No model called {name!r} is loaded. Load it first: POST /models.")
            return entry

    def names_after(self, name: str, limit: int) -> list[Entry]:
        """Return at most so many models in the order of their names, from behind one."""
        with self._lock:
            self._take_over()
            return sorted(
                (entry for entry in self._entries.values() if entry.ready and entry.name > name),
                key=lambda entry: entry.name,
            )[:limit]

    def unload(self, name: str) -> None:
        """Unload a model once it has answered what it was asked; its memory is free when this returns.

        Raises:
            NotLoaded: there is none of this name.
        """
        entry = self.get(name)
        with self._lock:
            if self._entries.get(name) is not entry:
                raise NotLoaded(f"No model called {name!r} is loaded.")
            entry.ready = False
        # Its name is taken until it is gone, or a new one of that name would be loaded beside it.
        with entry.turn:
            if entry.process is not None:
                entry.process.end()
                entry.process = None
        with self._lock:
            del self._entries[name]
            self._keep()
        log.info("Model %r unloaded", name)

    def invoke(self, name: str, invocation: Invocation) -> Reply:
        """Let a model answer.

        Raises:
            NotLoaded: there is none of this name.
            Overloaded: too many wait for it.
            TooSlow: those before took too long.
        """
        entry = self.get(name)
        with self._lock:
            if entry.waiting >= _WAITING:
                raise Overloaded(f"{_WAITING} requests wait for the model {name!r}. Try again later.", retry_after=1)
            entry.waiting += 1
        try:
            if not entry.turn.acquire(timeout=self._endpoint.timeout):
                raise TooSlow(f"The model {name!r} was busy for {self._endpoint.timeout} s.")
        finally:
            with self._lock:
                entry.waiting -= 1
        try:
            reply = self._answer(entry, invocation)
        except BaseException:
            entry.turn.release()
            raise
        if isinstance(reply.body, bytes):
            entry.turn.release()
            return reply
        return Reply(_Held(reply.body, entry.turn), reply.content_type, reply.status, reply.headers)

    def _answer(self, entry: Entry, invocation: Invocation) -> Reply:
        """Answer in this model's turn; a process that has ended is replaced, for the next request if not for this."""
        if not entry.ready:
            raise NotLoaded(f"The model {entry.name!r} has been unloaded.")
        if entry.process is None or not entry.process.alive:
            if entry.process is not None:
                entry.process.end()
                log.warning("The process of model %r is gone: the model is loaded again", entry.name)
            entry.process = None
            entry.process = self._start(entry)
        entry.memory = None
        try:
            return entry.process.answer(invocation)
        except ProcessEnded:
            entry.process.end()
            entry.process = None
            raise

    def _start(self, entry: Entry) -> ModelProcess:
        start, folder = time.monotonic(), Path(entry.url)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        self._check_fits(entry, size, "its files alone have")
        entry.memory = size
        process = ModelProcess(folder, self._endpoint, self._settings, self._folder)
        try:
            found = private_memory(process.pid)
            self._check_fits(entry, found, "loaded it takes")
        except InsufficientMemory:
            process.end()
            raise
        entry.memory = found
        log.info(
            "Model %r loaded from %s in %.2f s, %.1f MB", entry.name, folder, time.monotonic() - start, found / 1e6
        )
        return process

    def _check_fits(self, entry: Entry, size: int, verb: str) -> None:
        with self._lock:
            others = [other for other in self._entries.values() if other is not entry]
        used = sum(map(_measured, others))
        budget = self._budget or 0
        if used + size > budget:
            raise InsufficientMemory(
                f"The model {entry.name!r} does not fit: {verb} {size} bytes, {used} of {budget} are taken by "
                f"{len(others)} other models. Unload some, or choose an instance with more memory."
            )

    def _keep(self) -> None:
        """Write down which models there are; the lock must be held."""
        kept = orjson.dumps([(entry.name, entry.url) for entry in self._entries.values() if entry.ready])
        os.ftruncate(self._kept, 0)
        os.pwrite(self._kept, kept, 0)

    def _take_over(self) -> None:
        """Take what an earlier server process has written down; its models are loaded when they are asked for."""
        if self._process == os.getpid():
            return
        self._process = os.getpid()
        prepare_folder(self._folder)
        for name, url in orjson.loads(os.pread(self._kept, os.fstat(self._kept).st_size, 0) or b"[]"):
            self._entries[name] = Entry(name, url)
            self._entries[name].ready = True


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except OSError:
        # Too long to be a path at all, for one.
        return False


def _measured(entry: Entry) -> int:
    """Bytes that a model takes, measured again where it has answered since the last time."""
    process = entry.process
    if entry.memory is not None:
        return entry.memory
    if process is None:
        return 0
    found = private_memory(process.pid)
    if not entry.turn.locked():
        entry.memory = found
    return found


class _Held:
    """The parts of an answer, for whose time the model has no other request."""

    def __init__(self, parts: Iterator[bytes], turn: threading.Lock) -> None:
        self._parts, self._turn, self._open = parts, turn, True

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._parts)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the turn back."""
        if self._open:
            self._open = False
            try:
                self._parts.close()  # type: ignore[attr-defined]  # every reply's parts have it
            finally:
                self._turn.release()
