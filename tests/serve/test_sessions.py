"""Sessions: opened, used, closed, ended, and refused where there are none."""

import datetime as dt
import json

import pytest
from twofold.errors import PlatformError, RequestError
from twofold.serve.invocation import Invocation, Reply
from twofold.serve.sessions import CLOSED_HEADER, NEW_HEADER, SESSION_HEADER, Sessions, SessionService


class Clock:
    now = 1_000_000.0

    def __call__(self):
        return self.now


class Counter:
    """A service that counts the requests of a session in its folder."""

    def answer(self, invocation):
        if invocation.session is None:
            return Reply(b"none", "text/plain")
        count = invocation.session / "count"
        number = int(count.read_text()) + 1 if count.exists() else 1
        count.write_text(str(number))
        return Reply(str(number).encode(), "text/plain", headers={"X-Own": "kept"})


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sessions(tmp_path, clock):
    return Sessions(tmp_path / "sessions", 60, clock)


def ask(service, session=None, body=b"1,2"):
    headers = {SESSION_HEADER.lower(): session} if session else {}
    return service.answer(Invocation(body, headers=headers))


def order(kind):
    return json.dumps({"requestType": kind}).encode()


def test_a_session_from_its_beginning_to_its_end(sessions, clock):
    service = SessionService(Counter(), sessions)
    reply = ask(service, "NEW_SESSION", order("NEW_SESSION"))
    assert reply.headers[SESSION_HEADER] == reply.headers[NEW_HEADER]
    name, _, end = reply.headers[NEW_HEADER].partition("; Expires=")
    assert json.loads(reply.body) == {"sessionId": name}
    assert dt.datetime.strptime(end, "%Y-%m-%dT%H:%M:%S%z").timestamp() == clock.now + 60
    assert [ask(service, name).body for _ in range(3)] == [b"1", b"2", b"3"]
    assert ask(service).body == b"none"
    closed = ask(service, name, order("CLOSE"))
    assert closed.headers == {CLOSED_HEADER: name}
    with pytest.raises(RequestError, match="is unknown or has ended"):
        ask(service, name)


def test_a_request_can_open_the_session_that_it_is_the_first_of(sessions):
    service = SessionService(Counter(), sessions)
    reply = ask(service, "NEW_SESSION")
    assert (reply.body, reply.headers["X-Own"]) == (b"1", "kept")
    assert ask(service, reply.headers[NEW_HEADER].partition(";")[0]).body == b"2"


def test_another_worker_finds_it(tmp_path, sessions, clock):
    first = SessionService(Counter(), sessions)
    name = ask(first, "NEW_SESSION").headers[NEW_HEADER].partition(";")[0]
    assert ask(SessionService(Counter(), Sessions(tmp_path / "sessions", 60, clock)), name).body == b"2"


def test_it_ends_by_itself_and_leaves_nothing(tmp_path, sessions, clock):
    name = sessions.open().id
    clock.now += 59
    sessions.find(name)
    clock.now += 1
    with pytest.raises(RequestError, match="has ended"):
        sessions.find(name)
    other = sessions.open().id
    assert [path.name for path in (tmp_path / "sessions").iterdir()] == [other]


@pytest.mark.parametrize("name", ["../sessions", "..", ".hidden", "a/b", "a" * 257, "a_b", "", "-a", "a-", "\0"])
def test_an_id_is_never_a_path(sessions, name):
    sessions.open()
    with pytest.raises(RequestError, match="is unknown or has ended"):
        sessions.find(name)


def test_where_they_are_switched_off_the_setting_is_named():
    with pytest.raises(RequestError, match="set SAGEMAKER_ENABLE_STATEFUL_SESSIONS to true"):
        ask(SessionService(Counter(), None), "NEW_SESSION")


def test_a_folder_that_cannot_be_written_is_the_platforms_fault(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PlatformError, match="SAGEMAKER_SESSIONS_PATH"):
        Sessions(tmp_path / "file", 60).open()


SCRIPT = """
from pathlib import Path

def model_fn(folder):
    return None

def transform_fn(model, body, content_type, accept, context):
    if context.session_dir is None:
        return "none", "text/plain"
    path = Path(context.session_dir, "said")
    said = (path.read_text() if path.exists() else "") + (body if isinstance(body, str) else body.decode())
    path.write_text(said)
    return said, "text/plain"
"""


@pytest.mark.procs
def test_all_workers_of_a_server_share_them(tmp_path, serving):
    (tmp_path / "model/code").mkdir(parents=True)
    (tmp_path / "model/code/inference.py").write_text(SCRIPT)
    settings = {"SAGEMAKER_ENABLE_STATEFUL_SESSIONS": "true", "SAGEMAKER_MODEL_SERVER_WORKERS": "2"}
    server = serving(tmp_path, **settings).ready()
    text = {"Content-Type": "text/plain"}
    status, headers, _ = server.ask(
        "POST", "/invocations", order("NEW_SESSION"), {SESSION_HEADER: "NEW_SESSION", **text}
    )
    assert status == 200
    name = headers[NEW_HEADER].partition(";")[0]
    # Each on a connection of its own, so that both workers come to answer.
    answers = [server.ask("POST", "/invocations", b"x", {SESSION_HEADER: name, **text})[2] for _ in range(8)]
    assert answers == [b"x" * count for count in range(1, 9)]
    assert server.ask("POST", "/invocations", b"x", text)[2] == b"none"
    assert server.ask("POST", "/invocations", order("CLOSE"), {SESSION_HEADER: name, **text})[0] == 200
    assert server.ask("POST", "/invocations", b"x", {SESSION_HEADER: name, **text})[0] == 400


@pytest.mark.procs
def test_a_model_of_rows_refuses_a_session_that_it_does_not_keep(classifier, serving):
    server = serving(classifier.base).ready()
    headers = {SESSION_HEADER: "NEW_SESSION", "Content-Type": "text/csv"}
    status, _, body = server.ask("POST", "/invocations", b"1,2,3,4\n", headers)
    assert status == 400
    assert b"SAGEMAKER_ENABLE_STATEFUL_SESSIONS" in body
