"""The built-in gpt behind a real server."""

import json

import pytest
from twofold.models.gpt_generate import Sampling, generate_text
from twofold.serve.conversation import PATH
from websockets.sync.client import connect


@pytest.mark.procs
def test_a_conversation_with_a_server(gpt, serving):
    base, module = gpt
    server = serving(base).ready()
    ask = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 12, "temperature": 0.7, "seed": 5}
    status, _, body = server.ask("POST", "/v1/chat/completions", json.dumps(ask))
    assert status == 200
    expected = "".join(generate_text(module, "hello", max_tokens=12, sampling=Sampling(temperature=0.7, seed=5)))
    answer = json.loads(body)
    assert answer["choices"][0]["message"]["content"] == expected
    assert answer["usage"]["prompt_tokens"] == 6
    status, headers, body = server.ask("POST", "/v1/chat/completions", json.dumps(ask | {"stream": True}))
    assert (status, headers["Content-Type"].partition(";")[0]) == (200, "text/event-stream")
    *chunks, done = body.decode().strip().split("\n\n")
    assert done == "data: [DONE]"
    deltas = [json.loads(chunk.removeprefix("data: "))["choices"][0]["delta"] for chunk in chunks]
    assert "".join(delta.get("content", "") for delta in deltas) == expected


@pytest.mark.slow
@pytest.mark.procs
def test_a_prompt_on_a_websocket_is_answered_piece_by_piece(gpt, serving):
    base, module = gpt
    server = serving(base, SAGEMAKER_MODEL_SERVER_WORKERS="1").ready()
    ask = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 12, "temperature": 0.7, "seed": 5}
    expected = "".join(generate_text(module, "hello", max_tokens=12, sampling=Sampling(temperature=0.7, seed=5)))

    def answer():
        while True:
            choice = json.loads(talk.recv(30))["choices"][0]
            yield choice["delta"].get("content", "")
            if choice["finish_reason"]:
                return

    with connect(f"ws://127.0.0.1:{server.port}{PATH}", proxy=None) as talk:
        talk.send(json.dumps(ask))
        assert "".join(answer()) == expected
        talk.send("hello")
        assert "".join(answer()), "a prompt as it is"
        talk.send(json.dumps(ask | {"temperature": -1}))
        assert "temperature" in json.loads(talk.recv(30))["error"]["message"]


@pytest.mark.procs
def test_a_model_that_does_not_generate_says_404(artifact, serving):
    status, _, body = serving(artifact.base).ready().ask("POST", "/v1/chat/completions", b"{}")
    assert status == 404
    assert json.loads(body)["error"]["code"] == 404
