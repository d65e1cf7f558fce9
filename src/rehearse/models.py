"""The models of one multi-model container: fetched and loaded when they are asked for, unloaded when memory is short.

S3 prefix/TargetModel -> /opt/ml/models/<id>/model -> POST /models -> POST /models/<id>/invoke
"""

import hashlib
import json
import shutil
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

from ..contract.paths import DEFAULT_BASE_DIR
from ..errors import ApiError, DataError
from .context import Context
from .objects import fetch, locate, unpack
from .serving import Answer, Server

LOAD_S = 60.0


class Models:
    """Knows which models the container has loaded."""

    def __init__(self, context: Context, server: Server, prefix: str, *, cached: bool) -> None:
        """Take a container.

        Args:
            context: the rehearsal.
            server: the container.
            prefix: S3 prefix of the models.
            cached: whether a model stays loaded after it has answered.
        """
        self._context, self._server, self._prefix, self._cached = context, server, locate(prefix), cached
        self._folder = server.spec.base / "models"
        root = server.spec.base if context.backend.stands_in else DEFAULT_BASE_DIR
        self._seen = root / "models"
        self._loaded: OrderedDict[str, str] = OrderedDict()
        """Names by what was asked for, the one used longest ago first."""
        self._restarts = 0
        self._lock = threading.Lock()

    def ask(self, target: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Answer:
        """Have a model answer, after it was loaded.

        Raises:
            ApiError: it is not under the prefix, or does not fit into memory.
        """
        answer = Answer(404, {}, b"")
        # The container may have dropped it by itself: then once more.
        for _ in range(2):
            with self._lock:
                refused = self._load(target)
                name = self._loaded.get(target, "")
            if refused is not None:
                return refused
            answer = self._server.ask("POST", f"/models/{name}/invoke", body, headers, timeout_s)
            if answer.status != 404:
                break
            with self._lock:
                self._loaded.pop(target, None)
        if not self._cached:
            with self._lock:
                self._unload(target)
        return answer

    def _load(self, target: str) -> Answer | None:
        """Load a model that is not loaded; what the container says when it does not take it."""
        if self._server.restarts != self._restarts:
            self._restarts = self._server.restarts
            self._loaded.clear()
        if target in self._loaded:
            self._loaded.move_to_end(target)
            return None
        name = hashlib.sha256(target.encode()).hexdigest()[:32]
        self._fetch(target, self._folder / name / "model")
        request = json.dumps({"model_name": name, "url": str(self._seen / name / "model")}).encode()
        while True:
            answer = self._server.ask("POST", "/models", request, {"Content-Type": "application/json"}, LOAD_S)
            if answer.status in (200, 409):
                self._loaded[target] = name
                return None
            if answer.status != 507:
                return answer
            if not self._loaded:
                raise ApiError(f"{target} does not fit into the container's memory.", code="ModelNotReadyException")
            self._unload(next(iter(self._loaded)))

    def _unload(self, target: str) -> None:
        name = self._loaded.pop(target, None)
        if name is not None:
            self._server.ask("DELETE", f"/models/{name}", b"", {}, LOAD_S)
            shutil.rmtree(self._folder / name, ignore_errors=True)

    def _fetch(self, target: str, folder: Path) -> None:
        try:
            archive = folder.parent / "archive.tar.gz"
            fetch(self._context.clients.s3, self._prefix / target.lstrip("/"), archive)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            unpack(archive, folder)
            archive.unlink()
        except DataError as error:
            raise ApiError(f"TargetModel {target!r}: {error}", code="ValidationError") from error
