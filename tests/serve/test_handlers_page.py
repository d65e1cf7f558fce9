"""The examples of docs/handlers.md, served."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from twofold.contract.endpoint import Endpoint
from twofold.serve.engine import EngineSettings
from twofold.serve.gateway.incoming import Incoming
from twofold.serve.invocation import Invocation
from twofold.serve.services import open_service
from twofold.serve.user_functions import ARGUMENTS

PAGE = (Path(__file__).parents[2] / "docs" / "handlers.md").read_text(encoding="utf-8")
EXAMPLES = {
    block.splitlines()[0].removeprefix("# code/inference.py "): block
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
}


def serve(title, folder):
    (folder / "code").mkdir()
    (folder / "code" / "inference.py").write_text(EXAMPLES[title])
    return open_service(folder, Endpoint(), EngineSettings())


@pytest.fixture
def example(tmp_path):
    """example(title, folder) -> ask(body) -> reply of that example's service."""

    def make(title, folder=None):
        service = serve(title, folder or tmp_path)
        return lambda body: service.answer(Invocation(body, "application/json"))

    return make


def test_every_example_is_tried_here():
    assert set(EXAMPLES) == {
        "beside an artifact of 4 features",
        "with a model of its own",
        "with batches",
        "that streams",
        "that talks",
        "that refuses",
        "that chats",
    }


def test_every_function_is_in_the_table():
    assert set(re.findall(r"^\| `(\w+)\(", PAGE, re.MULTILINE)) == set(ARGUMENTS)


def test_named_records(example, artifact):
    ask = example("beside an artifact of 4 features", artifact.folder)
    reply = ask(json.dumps({"records": [{"a": 1, "b": 2, "c": 3, "d": 4}]}).encode())
    np.testing.assert_allclose(json.loads(reply.body)["predictions"], artifact.answers([[1, 2, 3, 4]]), atol=1e-6)


def test_a_model_of_its_own(example, tmp_path):
    (tmp_path / "words.json").write_text('{"1": "one"}')
    assert example("with a model of its own")(b"[1, 2]").body == b'["one", "?"]'


def test_batches(example):
    assert json.loads(example("with batches")(b"[1, 2]").body) == [3, 6]


def test_a_conversation(tmp_path):
    service = serve("that talks", tmp_path)
    incoming = Incoming(list)
    answers = service.converse(incoming, Invocation(b""))
    incoming.put("say")
    assert [next(answers), next(answers)] == ["say one", "say two"]
    incoming.put("stop")
    incoming.put("go")
    incoming.end()
    assert list(answers) == ["go one", "go two", "go three"]


def test_a_stream(example):
    reply = example("that streams")(b"")
    assert reply.content_type == "text/event-stream"
    assert b"".join(reply.body) == b"data: one\n\ndata: two\n\ndata: three\n\n"


def test_a_chat(tmp_path):
    chat = serve("that chats", tmp_path).chat
    ask = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 1}
    answer = json.loads(chat.answer(Invocation(json.dumps(ask).encode())).body)
    assert answer["choices"][0]["message"]["content"] == "Hi "


def test_a_refusal(example):
    ask = example("that refuses")
    assert ask(b"short").body == b"SHORT"
    assert ask(b"much too long").status == 422
