"""Stateful sessions: a folder for each conversation of a client with this instance, shared by all workers.

    NEW_SESSION            -> a folder, and its id with the time of its end in two headers of the answer
    <id>                   -> the request goes to the model, whose functions find the folder as `context.session_dir`
    <id> and CLOSE         -> the folder is removed

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/stateful-sessions.html. The headers in which a container names a
new session differ between AWS's documents and its own containers, so that both are sent.
"""

import datetime as dt
import re
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from ..errors import PlatformError, RequestError
from .invocation import Invocation, Reply, Service

SESSION_HEADER = "X-Amzn-SageMaker-Session-Id"
NEW_HEADER = "X-Amzn-SageMaker-New-Session-Id"
CLOSED_HEADER = "X-Amzn-SageMaker-Closed-Session-Id"
NEW = "NEW_SESSION"
CLOSE = "CLOSE"
_ID = re.compile(r"[a-zA-Z0-9](?:-*[a-zA-Z0-9]){0,255}")
_ENDS = ".ends"
_MAX_ORDER = 4096
"""Bytes of a body that can be an order to open or close; longer ones are for the model."""


@dataclass(frozen=True, slots=True)
class Session:
    """An open session."""

    id: str
    folder: Path
    """For whatever the user's functions keep of it."""
    ends: float
    """Seconds since 1970."""

    @property
    def named(self) -> str:
        """Its id and its end, as the header of an answer has them."""
        end = dt.datetime.fromtimestamp(self.ends, dt.UTC)
        return f"{self.id}; Expires={end:%Y-%m-%dT%H:%M:%SZ}"


class Sessions:
    """Sessions as folders below one folder; any number of processes may use it at once."""

    def __init__(self, folder: Path, lifetime_s: float, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._lifetime, self._clock = folder, lifetime_s, clock

    def open(self) -> Session:
        """Begin a session, and remove those that have ended.

        Raises:
            PlatformError: the disk is full or read-only.
        """
        session_id = str(uuid.uuid4())
        session = Session(session_id, self._folder / session_id, self._clock() + self._lifetime)
        partial = self._folder / f".{session_id}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            partial.mkdir()
            (partial / _ENDS).write_text(str(session.ends), encoding="ascii")
            # Under its name only when it is whole: another worker may be asked for it at once.
            partial.rename(session.folder)
        except OSError as error:
            raise PlatformError(
                f"No session can be kept in {self._folder}: {error}. Expected a folder to write to: set "
                f"SAGEMAKER_SESSIONS_PATH."
            ) from error
        return session

    def find(self, session_id: str) -> Session:
        """Return an open session.

        Raises:
            RequestError: there is none of this id, or it has ended.
        """
        # Checked before it becomes part of a path.
        folder = self._folder / session_id if _ID.fullmatch(session_id) else None
        ends = self._ends(folder) if folder else None
        if folder is None or ends is None or ends <= self._clock():
            raise RequestError(
                f"The session {session_id[:80]!r} is unknown or has ended. Expected an open one: begin another "
                f"with the SessionId {NEW}."
            )
        return Session(session_id, folder, ends)

    def close(self, session: Session) -> None:
        """End a session and forget all that was kept of it."""
        shutil.rmtree(session.folder, ignore_errors=True)

    def _sweep(self) -> None:
        now = self._clock()
        for folder in self._folder.iterdir():
            ends = self._ends(folder)
            if ends is not None and ends <= now:
                shutil.rmtree(folder, ignore_errors=True)

    @staticmethod
    def _ends(folder: Path) -> float | None:
        try:
            return float((folder / _ENDS).read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None


class SessionService:
    """Opens and closes sessions, and hands everything else to a model's service."""

    def __init__(self, service: Service, sessions: Sessions | None) -> None:
        """Take the service that answers, and the sessions; None where they are switched off."""
        self._service, self._sessions = service, sessions

    def answer(self, invocation: Invocation) -> Reply:
        """Answer a request.

        Raises:
            RequestError: a session that is not open, or sessions are switched off.
            TwofoldError: whatever the service says of the request.
        """
        asked = invocation.header(SESSION_HEADER)
        if not asked:
            return self._service.answer(invocation)
        if self._sessions is None:
            raise RequestError(
                f"The request is part of a session ({asked[:80]!r}), and this endpoint keeps none. Leave the SessionId "
                f"out, or set SAGEMAKER_ENABLE_STATEFUL_SESSIONS to true in the model's Environment."
            )
        order = _order(invocation)
        if asked == NEW:
            return self._begin(self._sessions, invocation, order)
        session = self._sessions.find(asked)
        if order == CLOSE:
            self._sessions.close(session)
            body = orjson.dumps({"sessionId": session.id, "closed": True})
            return Reply(body, "application/json", headers={CLOSED_HEADER: session.id})
        return self._service.answer(replace(invocation, session=session.folder))

    def _begin(self, sessions: Sessions, invocation: Invocation, order: str | None) -> Reply:
        session = sessions.open()
        headers = {SESSION_HEADER: session.named, NEW_HEADER: session.named}
        if order == NEW:
            return Reply(orjson.dumps({"sessionId": session.id}), "application/json", headers=headers)
        reply = self._service.answer(replace(invocation, session=session.folder))
        return replace(reply, headers={**reply.headers, **headers})


def _order(invocation: Invocation) -> str | None:
    """Return what a body orders by its `requestType`; None where it is one for the model."""
    if not 0 < len(invocation.body) <= _MAX_ORDER:
        return None
    try:
        body = orjson.loads(invocation.body)
    except orjson.JSONDecodeError:
        return None
    order = body.get("requestType") if isinstance(body, dict) else None
    return order if order in {NEW, CLOSE} else None
