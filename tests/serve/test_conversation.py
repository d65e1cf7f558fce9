"""WebSockets of real servers: artifacts, users' scripts, a gpt."""

import io
import json
import threading

import numpy as np
import pytest
from twofold.serve.conversation import PATH
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

ROW = "[[1, 2, 3, 4]]"
SCRIPT = """
import json
from sagemaker_inference.errors import BaseInferenceToolkitError
def model_fn(model_dir):
    return {"said": 0}
def transform_fn(model, body, content_type, accept):
    return str(model["said"]), "text/plain"
def bidirectional_fn(incoming, model, context):
    yield {"hello": context.get_request_header(0, "x-who")}
    for message in incoming:
        model["said"] += 1
        if message == "refuse":
            raise BaseInferenceToolkitError(422, "not that", "Unprocessable Entity")
        if message == "break":
            raise RuntimeError("secret")
        if message == "rest":
            yield [incoming.poll(), incoming.poll()]
        else:
            yield message * 2
    print("generator ended", flush=True)
"""
PARTS = """
def model_fn(model_dir):
    return None
def transform_fn(model, body, content_type, accept):
    def parts():
        for letter in body:
            yield letter
            if letter == "!":
                raise RuntimeError("secret")
    return (parts(), "text/plain") if body != "none" else None
"""


def talk(server, query="", **options):
    address = f"ws://127.0.0.1:{server.port}{PATH}{query}"
    return connect(address, proxy=None, close_timeout=20, open_timeout=30, **options)


def scripted(folder, code):
    (folder / "model" / "code").mkdir(parents=True)
    (folder / "model" / "code" / "inference.py").write_text(code)
    return folder


@pytest.fixture(scope="module")
def rows(serving, classifier):
    return serving(classifier.base, SAGEMAKER_MODEL_SERVER_WORKERS="1", TWOFOLD_ACCESS_LOG="true").ready()


@pytest.fixture(scope="module")
def own(serving, tmp_path_factory):
    base = scripted(tmp_path_factory.mktemp("own"), SCRIPT)
    return serving(base, SAGEMAKER_MODEL_SERVER_WORKERS="1").ready()


@pytest.mark.procs
def test_each_message_is_a_request(rows, classifier):
    expected = classifier.answers([[1, 2, 3, 4]])
    npy = io.BytesIO()
    np.save(npy, np.array([[1, 2, 3, 4]], np.float32))
    with talk(rows) as found:
        found.send(ROW)
        np.testing.assert_allclose(json.loads(found.recv(30))["predictions"], expected, atol=1e-6)
        found.send("[[1, 2]]")
        told = json.loads(found.recv(30))["error"]
        assert told["code"] == 400
        assert "expected 4" in told["message"] or "4" in told["message"]
        found.send(ROW.encode())
        np.testing.assert_allclose(json.loads(found.recv(30))["predictions"], expected, atol=1e-6)
    with talk(rows, "?content-type=text/csv&accept=text/csv") as found:
        found.send("1,2,3,4\n1,2,3,4\n")
        assert len(found.recv(30).splitlines()) == 2
    with talk(rows, additional_headers={"Content-Type": "application/x-npy", "Accept": "application/x-npy"}) as found:
        found.send(npy.getvalue())
        np.testing.assert_allclose(np.load(io.BytesIO(found.recv(30))), expected, atol=1e-6)


@pytest.mark.procs
def test_the_path_is_for_websockets_only_and_a_conversation_is_no_latency(rows, until):
    status, _, body = rows.ask("GET", PATH)
    assert status == 400
    assert b"Use a WebSocket client" in body
    before = rows.ask("GET", "/metrics")[2]
    with talk(rows):
        assert rows.ask("GET", "/ping")[0] == 200
    lines = until(lambda: [line for line in rows.log.splitlines() if '"status":101' in line], "its line is there")
    assert f'"path":"{PATH}"' in lines[0]
    count = b"twofold_request_seconds_count"
    assert [line for line in rows.ask("GET", "/metrics")[2].splitlines() if line.startswith(count)] == [
        line for line in before.splitlines() if line.startswith(count)
    ]


@pytest.mark.procs
def test_a_function_of_the_users_own(own, until):
    before = int(own.ask("POST", "/invocations", b"")[2])
    with talk(own, additional_headers={"X-Who": "me"}) as found:
        assert json.loads(found.recv(30)) == {"hello": "me"}
        for message in ("ab", b"ab"):
            found.send(message)
            assert found.recv(30) == message * 2
        found.send("rest")
        assert json.loads(found.recv(30)) == [None, None]
        after = int(own.ask("POST", "/invocations", b"")[2])
        assert after == before + 3, "while it waits for a message, others have their turn"
    until(lambda: "generator ended" in own.log, "the function saw the end")


@pytest.mark.procs
@pytest.mark.parametrize(("message", "code", "reason"), [("refuse", 1008, "not that"), ("break", 1011, "Look for")])
def test_its_error_is_the_reason_why_the_connection_closes(own, message, code, reason):
    with talk(own) as found:
        found.recv(30)
        found.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            found.recv(30)
    assert closed.value.rcvd.code == code
    assert reason in closed.value.rcvd.reason
    assert "secret" not in closed.value.rcvd.reason


@pytest.mark.procs
def test_a_stream_of_a_script_is_a_message_a_part(serving, tmp_path):
    server = serving(scripted(tmp_path, PARTS), SAGEMAKER_MODEL_SERVER_WORKERS="1").ready()
    with talk(server, "?content-type=text/csv") as found:
        found.send("ab")
        assert [found.recv(30), found.recv(30)] == ["a", "b"]
        found.send("c!d")
        assert [found.recv(30), found.recv(30)] == ["c", "!"]
        broken = json.loads(found.recv(30))["error"]["message"]
        assert "secret" not in broken
        found.send("e")
        assert found.recv(30) == "e", "the next one is none the worse"


@pytest.mark.procs
def test_what_is_no_generator_is_said_in_the_log(serving, tmp_path, until):
    code = "def model_fn(model_dir):\n    return 1\ndef bidirectional_fn(incoming, model):\n    return [1]\n"
    server = serving(scripted(tmp_path, code), SAGEMAKER_MODEL_SERVER_WORKERS="1").ready()
    with talk(server) as found, pytest.raises(ConnectionClosed) as closed:
        found.recv(30)
    assert closed.value.rcvd.code == 1011
    until(lambda: "returned list. Expected a generator" in server.log, "the log says why")


@pytest.mark.procs
def test_a_stop_closes_with_going_away(serving, classifier):
    server = serving(classifier.base, SAGEMAKER_MODEL_SERVER_WORKERS="2").ready()
    with talk(server) as one, talk(server) as two:
        one.send(ROW)
        assert "predictions" in one.recv(30)
        codes = []

        def stop():
            codes.append(server.stop())

        thread = threading.Thread(target=stop)
        thread.start()
        for found in (one, two):
            with pytest.raises(ConnectionClosed) as closed:
                found.recv(30)
            assert closed.value.rcvd.code == 1001
        thread.join(30)
        assert codes == [0]


@pytest.mark.procs
def test_many_models_have_no_websocket(serving, tmp_path):
    server = serving(tmp_path, SAGEMAKER_MULTI_MODEL="true").ready()
    with pytest.raises(InvalidStatus) as refused:
        talk(server)
    assert refused.value.response.status_code == 404
