"""Models behind a server that runs for real: engines and users' scripts."""

import contextlib
import json
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from twofold.contract.endpoint import Endpoint
from twofold.serve import handlers, services
from twofold.serve.engine import EngineSettings
from twofold.serve.handlers import HandlerService
from twofold.serve.invocation import Invocation
from twofold.serve.rows_service import RowsService
from twofold.serve.services import open_service, preparation

SCRIPT = """
import json, os, time
def model_fn(model_dir):
    print("loaded once", flush=True)
    return {"pid": os.getpid()}
def input_fn(body, content_type):
    return json.loads(body)
def predict_fn(data, model):
    if data == "fail":
        raise ValueError("secret of the user")
    return data
def output_fn(prediction, accept):
    if isinstance(prediction, dict):
        return (f"{n}\\n" for n in range(prediction["count"])), "text/plain"
    return json.dumps(prediction)
"""


def script_in(base, code=SCRIPT):
    path = base / "model" / "code" / "inference.py"
    path.parent.mkdir(parents=True)
    path.write_text(code)
    return base


@pytest.fixture(scope="module")
def scripted(serving, tmp_path_factory):
    return serving(script_in(tmp_path_factory.mktemp("script")), SAGEMAKER_MODEL_SERVER_WORKERS="2").ready()


def test_the_folder_decides(classifier, tmp_path):
    script_in(tmp_path)
    assert isinstance(open_service(classifier.folder, Endpoint(), EngineSettings()), RowsService)
    assert isinstance(open_service(tmp_path / "model", Endpoint(), EngineSettings()), HandlerService)


def test_a_script_answers(scripted):
    status, headers, body = scripted.ask("POST", "/invocations", b"[1, 2]", {"Content-Type": "application/json"})
    assert (status, headers["Content-Type"], json.loads(body)) == (200, "application/json", [1, 2])


def test_its_error_is_an_id_for_the_client_and_a_traceback_in_the_log(scripted, until):
    status, _, body = scripted.ask("POST", "/invocations", b'"fail"', {"Content-Type": "application/json"})
    message = json.loads(body)["error"]["message"]
    assert status == 500
    assert "secret" not in message
    until(lambda: "secret of the user" in scripted.log, "the log has the cause")


def test_its_generator_is_sent_in_chunks(scripted, everything):
    body = b'{"count": 3}'
    with socket.create_connection(("127.0.0.1", scripted.port), timeout=40) as client:
        head = f"POST /invocations HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        answer = everything(client)
    assert b"transfer-encoding: chunked" in answer.lower()
    assert all(part in answer for part in (b"0\n", b"1\n", b"2\n"))
    assert answer.endswith(b"0\r\n\r\n")


def test_the_model_is_loaded_once_for_all_workers(scripted):
    assert scripted.log.count("loaded once") == 1


def test_workers_of_a_verified_program_have_no_torch_in_memory(serving, program, until):
    server = serving(program.base, SAGEMAKER_MODEL_SERVER_WORKERS="2").ready()
    rows = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    body = json.dumps({"instances": rows.tolist()})
    status, _, answer = server.ask("POST", "/invocations", body, {"Content-Type": "application/json"})
    assert status == 200
    np.testing.assert_allclose(json.loads(answer)["predictions"], program.answers(rows), atol=1e-5)
    pid = server.process.pid

    def children():
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return found if len(found) == 2 else None

    for process in [pid, *until(children, "two workers run")]:
        maps = Path(f"/proc/{process}/maps").read_text()
        assert "onnxruntime" in maps
        assert "libtorch" not in maps
    assert "by ONNX Runtime" in server.log
    assert server.stop() == 0


THREADS = """
import concurrent.futures, os
def model_fn(model_dir):
    pool = concurrent.futures.ThreadPoolExecutor(2)
    list(pool.map(str, range(8)))
    return pool
def transform_fn(model, data, content_type, accept):
    return str(model.submit(len, data).result(20))
"""


def test_workers_need_not_look_through_what_was_there_before_them(serving, tmp_path):
    code = """
import gc
def model_fn(model_dir):
    return None
def transform_fn(model, data, content_type, accept):
    return str(gc.get_freeze_count()), "text/plain"
"""
    server = serving(script_in(tmp_path, code), SAGEMAKER_MODEL_SERVER_WORKERS="1").ready()
    assert int(server.ask("POST", "/invocations", b"x")[2]) > 10_000


def test_a_model_with_threads_is_loaded_again_in_each_worker(serving, tmp_path):
    server = serving(script_in(tmp_path, THREADS), SAGEMAKER_MODEL_SERVER_WORKERS="2").ready()
    assert server.ask("POST", "/invocations", b"four", {"Content-Type": "text/plain"})[::2] == (200, b"4")
    assert "threads running, which no fork takes along" in server.log
    assert server.stop() == 0


def test_beside_a_gpu_each_worker_loads_by_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(handlers, "gpu_here", lambda: True)
    script_in(tmp_path, SCRIPT)
    service = open_service(tmp_path / "model", Endpoint(), EngineSettings())
    assert service._model is None
    assert preparation(service) == service.prepare
    assert service.answer(Invocation(b"1", "application/json")).body == b"1"
    assert service._model == {"pid": os.getpid()}


CHAT = """
def model_fn(model_dir):
    return ["one ", "two ", "three"]
def chat_fn(messages, model):
    if messages[-1]["content"] == "fail":
        raise ValueError("secret of the user")
    yield from model
"""


def test_a_script_that_chats_is_asked_as_openai_is(serving, tmp_path, until):
    server = serving(script_in(tmp_path, CHAT)).ready()
    ask = {"messages": [{"role": "user", "content": "count"}]}
    status, _, body = server.ask("POST", "/v1/chat/completions", json.dumps(ask))
    assert (status, json.loads(body)["choices"][0]["message"]["content"]) == (200, "one two three")
    status, headers, body = server.ask("POST", "/v1/chat/completions", json.dumps(ask | {"stream": True}))
    assert (status, headers["Transfer-Encoding"], body.count(b"data: ")) == (200, "chunked", 6)
    assert "/v1/chat/completions" in json.loads(server.ask("GET", "/openapi.json")[2])["paths"]
    ask["messages"][0]["content"] = "fail"
    status, _, body = server.ask("POST", "/v1/chat/completions", json.dumps(ask))
    assert (status, b"secret" in body) == (500, False)
    until(lambda: "secret of the user" in server.log, "the log has the cause")
    assert server.stop() == 0


AGAIN = """
import concurrent.futures, pathlib, time
def model_fn(model_dir):
    base = pathlib.Path(model_dir).parent
    if (base / "first").exists():
        (base / "again").write_text("")
        while not (base / "go").exists():
            time.sleep(0.01)
        if (base / "go").read_text():
            raise ValueError("cannot load again")
    (base / "first").write_text("")
    pool = concurrent.futures.ThreadPoolExecutor(2)
    pool.submit(len, "x").result()
    return pool
def transform_fn(model, data, content_type, accept):
    return str(model.submit(len, data).result(20))
"""


@pytest.mark.parametrize("trouble", ["", "fail"])
def test_ping_is_503_until_a_worker_has_loaded_what_no_fork_takes_along(serving, tmp_path, until, trouble):
    server = serving(script_in(tmp_path, AGAIN), SAGEMAKER_MODEL_SERVER_WORKERS="1")
    until((tmp_path / "again").exists, "a worker loads the model again, without being asked")

    def ping():
        with contextlib.suppress(OSError):
            return server.ask("GET", "/ping")
        return None

    status, _, body = until(ping, "it answers")
    assert (status, b"loading" in body) == (503, True)
    (tmp_path / "go").write_text(trouble)
    if trouble:
        assert server.process.wait(40) == 4, "as for every model that cannot be loaded"
        assert "cannot load again" in server.log
        return
    server.ready()
    assert server.ask("POST", "/invocations", b"four", {"Content-Type": "text/plain"})[::2] == (200, b"4")
    assert server.stop() == 0


def test_what_comes_through_the_fork_needs_no_preparation(classifier, tmp_path, monkeypatch):
    plain = open_service(script_in(tmp_path) / "model", Endpoint(), EngineSettings())
    rows = open_service(classifier.folder, Endpoint(), EngineSettings())
    assert [preparation(plain), preparation(rows)] == [None, None]
    monkeypatch.setattr(services, "gpu_here", lambda: True)
    preparation(rows)()
