"""A multi-model endpoint that runs for real: contract 3."""

import json
import os
import signal
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

ROW = b"1,2,3,4\n"
SLOW = """
import time, pathlib
def model_fn(model_dir):
    return pathlib.Path(model_dir)
def transform_fn(model, data, content_type, accept):
    (model.parent / "begun").write_text("")
    while not (model.parent / "go").exists():
        time.sleep(0.01)
    return "done"
"""
SCRIPT = """
import helper
def model_fn(model_dir):
    return helper.NAME
def transform_fn(model, data, content_type, accept):
    if data == b"stream":
        return (f"{model} {n}\\n" for n in range(3)), "text/plain"
    if data == b"forever":
        def forever():
            while True:
                yield "x" * 1000
        return forever(), "text/plain"
    if data == b"die":
        import os
        os._exit(3)
    return model
"""


def script(folder, code, **files):
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "inference.py").write_text(code)
    for name, text in files.items():
        (folder / "code" / f"{name}.py").write_text(text)
    return folder


class Client:
    """The calls of the platform."""

    def __init__(self, server):
        self.server = server

    def call(self, method, path, content=None, headers=None):
        body = json.dumps(content).encode() if content is not None and not isinstance(content, bytes) else content
        status, _, answer = self.server.ask(method, path, body, headers)
        return status, json.loads(answer) if answer.startswith(b"{") else answer

    def load(self, name, url):
        return self.call("POST", "/models", {"model_name": name, "url": str(url)})

    def unload(self, name):
        return self.call("DELETE", f"/models/{urllib.parse.quote(name, safe='')}")

    def invoke(self, name, body=ROW, content_type="text/csv", accept="text/csv"):
        path = f"/models/{urllib.parse.quote(name, safe='')}/invoke"
        return self.call("POST", path, body, {"Content-Type": content_type, "Accept": accept})

    def names(self, limit):
        token, names = "", []
        while token is not None:
            status, page = self.call("GET", f"/models?limit={limit}&next_page_token={token}")
            assert status == 200, page
            names += [model["modelName"] for model in page["models"]]
            assert len(page["models"]) <= limit
            token = page.get("nextPageToken")
        return names


@pytest.fixture(scope="module")
def endpoint(serving, tmp_path_factory):
    """A multi-model endpoint; no model folder is where a single one would be."""
    return Client(serving(tmp_path_factory.mktemp("base"), SAGEMAKER_MULTI_MODEL="true").ready())


@pytest.fixture
def name(request, endpoint):
    """A name for the test's model, which is unloaded in the end."""
    name = request.node.name
    yield name
    endpoint.unload(name)


def test_without_a_model_ping_is_200_and_the_list_is_empty(serving, tmp_path):
    client = Client(serving(tmp_path, SAGEMAKER_MULTI_MODEL="true").ready())
    assert client.call("GET", "/models") == (200, {"models": []})
    assert client.call("POST", "/invocations", ROW, {"Content-Type": "text/csv"})[0] == 404
    assert client.server.stop() == 0


def test_a_model_is_loaded_described_invoked_and_unloaded(endpoint, program, name):
    assert endpoint.load(name, program.folder)[0] == 200
    assert endpoint.call("GET", f"/models/{name}") == (200, {"modelName": name, "modelUrl": str(program.folder)})
    status, answer = endpoint.invoke(name)
    assert status == 200
    np.testing.assert_allclose(np.array(answer.split(b","), dtype=float), program.answers([[1, 2, 3, 4]])[0], atol=1e-5)
    assert endpoint.load(name, program.folder)[0] == 409
    assert endpoint.unload(name)[0] == 200
    for status, _ in (endpoint.invoke(name), endpoint.unload(name), endpoint.call("GET", f"/models/{name}")):
        assert status == 404
    assert endpoint.load(name, program.folder)[0] == 200, "its name is free again"


@pytest.mark.parametrize("odd", ["../../etc/passwd", "a b/c.tar.gz", "ünï-∂", "invoke", "x/invoke", "%2e%2e"])
def test_names_are_names_and_nothing_else(endpoint, program, odd):
    assert endpoint.load(odd, program.folder)[0] == 200
    assert endpoint.invoke(odd)[0] == 200
    quoted = urllib.parse.quote(odd, safe="")
    assert endpoint.call("GET", f"/models/{quoted}")[1]["modelName"] == odd
    assert endpoint.unload(odd)[0] == 200


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "the body"),
        (b"[]", "the body"),
        (b'{"url": "/x"}', "model_name"),
        (b'{"model_name": "m"}', "url"),
        (b'{"model_name": "", "url": "/x"}', "model_name"),
        (b'{"model_name": 3, "url": "/x"}', "model_name"),
        (b'{"model_name": "m", "url": "/x\\u0000"}', "url"),
        (b'{"model_name": "m", "url": "/' + b"x" * 5000 + b'"}', "url"),
    ],
)
def test_a_bad_request_is_400(endpoint, body, words):
    status, answer = endpoint.call("POST", "/models", body)
    assert status == 400
    assert answer["error"]["message"].startswith(words)


def test_bad_pages_are_400(endpoint):
    for query in ("next_page_token=%21", "next_page_token=%C3%A4", "limit=0", "limit=1001", "limit=null", "limit="):
        assert endpoint.call("GET", f"/models?{query}")[0] == 400, query


def test_a_folder_that_cannot_be_served_says_why_and_leaves_the_name_free(endpoint, program, tmp_path, name):
    status, answer = endpoint.load(name, tmp_path / "nowhere")
    assert status == 400
    assert "expected a model folder" in answer["error"]["message"]
    status, answer = endpoint.load(name, tmp_path)
    assert status == 500
    assert "No twofold.json" in answer["error"]["message"]
    assert endpoint.load(name, program.folder)[0] == 200


def test_a_clients_mistake_is_the_clients(endpoint, program, name):
    endpoint.load(name, program.folder)
    status, answer = endpoint.invoke(name, b"1,2\n")
    assert status == 400
    assert "4" in answer["error"]["message"]
    assert endpoint.invoke(name, accept="image/png")[0] == 406


def test_two_models_may_have_scripts_and_helpers_of_the_same_name(endpoint, tmp_path, name):
    for own in ("first", "second"):
        folder = script(tmp_path / own, SCRIPT, helper=f"NAME = {own!r}\n")
        assert endpoint.load(f"{name}-{own}", folder)[0] == 200
    try:
        for own in ("first", "second"):
            assert endpoint.invoke(f"{name}-{own}") == (200, own.encode())
    finally:
        for own in ("first", "second"):
            endpoint.unload(f"{name}-{own}")


def test_answers_in_parts_come_through(endpoint, tmp_path, name):
    endpoint.load(name, script(tmp_path / "m", SCRIPT, helper="NAME = 'me'\n"))
    assert endpoint.invoke(name, b"stream", "text/plain") == (200, b"me 0\nme 1\nme 2\n")
    connection = endpoint.server.connect()
    connection.request("POST", f"/models/{name}/invoke", b"forever", {"Content-Type": "text/plain"})
    assert connection.getresponse().read(10) == b"x" * 10
    connection.close()
    assert endpoint.invoke(name) == (200, b"me"), "a client that goes away gives the model back"


def test_a_model_that_breaks_its_process_is_loaded_again(endpoint, program, tmp_path, name):
    endpoint.load(name, script(tmp_path / "m", SCRIPT, helper="NAME = 'me'\n"))
    endpoint.load(f"{name}-other", program.folder)
    assert endpoint.invoke(name, b"die", "text/plain")[0] == 500
    assert endpoint.invoke(f"{name}-other")[0] == 200
    assert endpoint.invoke(name) == (200, b"me")
    endpoint.unload(f"{name}-other")


def test_others_answer_while_one_is_busy_and_unloading_waits(endpoint, program, tmp_path, name, until):
    endpoint.load(name, script(tmp_path / "m", SLOW))
    with ThreadPoolExecutor(4) as pool:
        busy = pool.submit(endpoint.invoke, name)
        until((tmp_path / "begun").exists, "the model is busy")
        assert endpoint.server.ask("GET", "/ping")[0] == 200
        assert endpoint.load(f"{name}-other", program.folder)[0] == 200
        assert endpoint.invoke(f"{name}-other")[0] == 200
        unloading = pool.submit(endpoint.unload, name)
        until(lambda: endpoint.call("GET", f"/models/{name}")[0] == 404, "it is no longer offered")
        assert not unloading.done()
        assert endpoint.load(name, program.folder)[0] == 409, "not beside the one that goes"
        (tmp_path / "go").write_text("")
        assert busy.result(60) == (200, b"done")
        assert unloading.result(60)[0] == 200
    endpoint.unload(f"{name}-other")


def test_two_loads_at_once(endpoint, program, name):
    names = [f"{name}-{number}" for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert [status for status, _ in pool.map(lambda n: endpoint.load(n, program.folder), names)] == [200] * 4
        assert [status for status, _ in pool.map(endpoint.invoke, names)] == [200] * 4
        assert [status for status, _ in pool.map(endpoint.unload, names)] == [200] * 4
        same = [status for status, _ in pool.map(lambda _: endpoint.load(name, program.folder), range(4))]
    assert sorted(same) == [200, 409, 409, 409]


def processes_below(pid):
    """All processes that a process has started, theirs too."""
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            found += [int(child), *processes_below(child)]
    return found


def test_memory_is_free_when_unloading_returns(serving, tmp_path, program, until):
    client = Client(serving(tmp_path, SAGEMAKER_MULTI_MODEL="true").ready())
    big = (
        "import numpy as np\n"
        "def model_fn(model_dir):\n    return np.ones(30_000_000)\n"
        "def transform_fn(model, data, content_type, accept):\n    return str(model[0])\n"
    )
    assert client.load("small", program.folder)[0] == 200
    before = set(processes_below(client.server.process.pid))
    assert client.load("big", script(tmp_path / "big", big))[0] == 200
    assert client.invoke("big") == (200, b"1.0")
    new = set(processes_below(client.server.process.pid)) - before
    assert len(new) == 1
    assert private_bytes(new) > 240_000_000
    assert client.unload("big")[0] == 200
    assert not any(Path(f"/proc/{process}").exists() for process in new), "gone when the answer comes"
    assert set(processes_below(client.server.process.pid)) == before
    everybody = processes_below(client.server.process.pid)
    assert client.server.stop() == 0
    until(lambda: not [process for process in everybody if alive(process)], "all processes end with the server")


def alive(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def private_bytes(processes):
    texts = [Path(f"/proc/{process}/smaps_rollup").read_text() for process in processes]
    return sum(int(line.split()[1]) * 1024 for text in texts for line in text.splitlines() if "Private_" in line)


def test_a_budget_that_is_spent_is_507_and_leaks_nothing(serving, tmp_path, program):
    client = Client(serving(tmp_path, SAGEMAKER_MULTI_MODEL="true", TWOFOLD_MODELS_MEMORY_MB="0").ready())
    for _ in range(3):
        status, answer = client.load("m", program.folder)
        assert status == 507
        assert "does not fit" in answer["error"]["message"]
    assert client.call("GET", "/models") == (200, {"models": []})
    assert client.invoke("m")[0] == 404
    assert client.server.ask("GET", "/ping")[0] == 200
    assert client.server.stop() == 0


def test_a_model_that_turns_out_too_large_is_507_and_gone(serving, tmp_path, program, until):
    client = Client(serving(tmp_path, SAGEMAKER_MULTI_MODEL="true", TWOFOLD_MODELS_MEMORY_MB="150").ready())
    big = "def model_fn(d):\n    return b'1' * 300_000_000\ndef transform_fn(a, b, c, d):\n    return 'x'\n"
    assert client.load("small", program.folder)[0] == 200
    before = set(processes_below(client.server.process.pid))
    assert client.load("big", script(tmp_path / "big", big))[0] == 507
    assert set(processes_below(client.server.process.pid)) == before
    assert client.invoke("small")[0] == 200
    assert client.server.stop() == 0


def test_a_server_process_that_is_killed_forgets_no_model(serving, tmp_path, program, until):
    client = Client(serving(tmp_path, SAGEMAKER_MULTI_MODEL="true").ready())
    assert client.load("m", program.folder)[0] == 200
    pid = client.server.process.pid
    worker = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    os.kill(worker, signal.SIGKILL)

    def again():
        try:
            return client.invoke("m")[0] == 200
        except OSError:
            return False

    until(again, "the next server process loads it again")
    assert client.names(10) == ["m"]
    assert client.server.stop() == 0


@pytest.mark.slow
def test_250_models_are_paged_without_a_gap_or_a_duplicate(serving, tmp_path, program):
    client = Client(serving(tmp_path, SAGEMAKER_MULTI_MODEL="true").ready())
    names = [f"model-{number}.tar.gz" for number in range(250)]
    with ThreadPoolExecutor(2) as pool:
        assert {status for status, _ in pool.map(lambda name: client.load(name, program.folder), names)} == {200}
    assert client.names(100) == client.names(7) == sorted(names)
    assert client.invoke(names[249])[0] == 200
    for name in names[::2]:
        assert client.unload(name)[0] == 200
    assert client.names(100) == sorted(names[1::2])
    assert client.server.stop() == 0
