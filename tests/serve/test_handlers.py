"""A user's functions, called in this process as `sagemaker-inference` calls them, and compared with it."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sagemaker_inference.transformer import Transformer
from twofold.contract.endpoint import Endpoint
from twofold.errors import FormatError, ModelError, NotAcceptable, TwofoldError, UnsupportedMediaType
from twofold.serve.engine import EngineSettings
from twofold.serve.handlers import HandlerService
from twofold.serve.invocation import Invocation
from twofold.serve.services import open_service

PARTS = """
import json
def model_fn(model_dir):
    return {"factor": 2, "dir": model_dir}
def input_fn(body, content_type):
    return json.loads(body), content_type
def predict_fn(data, model):
    return [value * model["factor"] for value in data[0]]
def output_fn(prediction, accept):
    return json.dumps(prediction)
"""
CONTEXT = """
import json
def model_fn(model_dir, context):
    return context.system_properties["model_dir"]
def input_fn(body, content_type, context):
    return context.get_request_header(0, "x-who")
def predict_fn(data, model, context):
    context.set_response_header(0, "X-Seen", data)
    context.set_response_status(202, "Accepted")
    return context.request_processor[0].get_request_properties()
def output_fn(prediction, accept, context):
    return json.dumps(sorted(prediction)), "application/json; charset=utf-8"
"""
TRANSFORM = """
def model_fn(model_dir):
    return "model"
def transform_fn(model, data, content_type, accept):
    return f"{model} {type(data).__name__} {content_type} {accept}", "text/plain"
"""
DEFAULTS = """
def model_fn(model_dir):
    return 10
def predict_fn(data, model):
    return data * model
"""


@pytest.fixture
def serve(tmp_path):
    """serve(code, **settings) -> the service of a folder with such an inference.py."""

    def make(code, folder="model", **settings):
        path = tmp_path / folder / "code" / "inference.py"
        path.parent.mkdir(parents=True)
        path.write_text(code)
        return open_service(tmp_path / folder, Endpoint(**settings), EngineSettings())

    return make


def ask(service, body=b"[1, 2]", content_type="application/json", accept="", **headers):
    return service.answer(Invocation(body, content_type, accept, headers))


def test_the_parts_run_in_order(serve, tmp_path):
    service = serve(PARTS)
    assert isinstance(service, HandlerService)
    reply = ask(service)
    assert (reply.body, reply.content_type, reply.status) == (b"[2, 4]", "application/json", 200)


def test_functions_may_take_the_context(serve):
    reply = ask(serve(CONTEXT), **{"X-Who": "me", "Content-Type": "application/json"})
    assert reply.status == 202
    assert reply.headers == {"X-Seen": "me"}
    assert reply.content_type == "application/json; charset=utf-8"
    assert json.loads(reply.body) == ["Content-Type", "X-Who"]


@pytest.mark.parametrize(
    ("content_type", "accept", "expected"),
    [
        ("text/csv", "", b"model str text/csv application/json"),
        ("application/json", "*/*", b"model str application/json application/json"),
        ("image/png", "text/html", b"model bytes image/png text/html"),
    ],
)
def test_transform_fn_gets_all_and_gives_all(serve, content_type, accept, expected):
    reply = ask(serve(TRANSFORM), content_type=content_type, accept=accept)
    assert (reply.body, reply.content_type) == (expected, "text/plain")


class Toolkit:
    """What `sagemaker-inference` itself does with a request, through the interface that it has for its server."""

    def __init__(self, monkeypatch, code):
        monkeypatch.syspath_prepend(str(code))
        monkeypatch.setenv("SAGEMAKER_PROGRAM", "toolkit_inference.py")
        self._transformer = Transformer()
        self.code = code

    def ask(self, body, content_type, accept):
        headers = {"Content-Type": content_type, "Accept": accept}

        class Processor:
            def get_request_properties(self):
                return headers

        class Context:
            status, content_type = 200, None

            def __init__(self, model_dir):
                self.system_properties, self.request_processor = {"model_dir": model_dir}, [Processor()]

            def set_response_status(self, code, phrase):
                self.status = code

            def set_response_content_type(self, _, value):
                self.content_type = value

        context = Context(str(self.code.parent))
        answer = self._transformer.transform([{"body": body}], context)[0]
        return context.status, answer if isinstance(answer, bytes) else answer.encode(), context.content_type


@pytest.mark.parametrize(
    ("body", "content_type", "accept"),
    [
        (b"[[1, 2], [3, 4]]", "application/json", "application/json"),
        (b"[[1, 2], [3, 4]]", "application/json", "*/*"),
        (b"1,2\n3,4\n", "text/csv", "text/csv"),
        (b"1,2\n3,4\n", "text/csv", "application/x-npy"),
        (b"1,2\n3,4\n", "text/csv", "text/html, application/json"),
    ],
)
def test_defaults_answer_as_the_toolkit_does(serve, tmp_path, monkeypatch, body, content_type, accept):
    service = serve(DEFAULTS)
    (tmp_path / "model" / "code" / "toolkit_inference.py").write_text(DEFAULTS)
    status, expected, expected_type = Toolkit(monkeypatch, tmp_path / "model" / "code").ask(body, content_type, accept)
    reply = ask(service, body, content_type, accept)
    assert (reply.status, reply.body, reply.content_type) == (status, expected, expected_type)


def test_defaults_refuse_by_status(serve):
    service = serve(DEFAULTS)
    with pytest.raises(UnsupportedMediaType, match="or define input_fn"):
        ask(service, content_type="image/png")
    with pytest.raises(NotAcceptable, match="or define output_fn"):
        ask(service, accept="image/png")
    with pytest.raises(FormatError, match="cannot be read as application/json"):
        ask(service, b"{")
    with pytest.raises(FormatError, match="no UTF-8 at byte 1"):
        ask(service, b"1\xff")


def test_an_array_of_objects_is_not_unpickled(serve, tmp_path):
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(FormatError, match="application/x-npy"):
        ask(serve(DEFAULTS), (tmp_path / "evil.npy").read_bytes(), "application/x-npy")


def test_errors_of_the_toolkit_are_replies(serve):
    code = PARTS + (
        "from sagemaker_inference.errors import BaseInferenceToolkitError, UnsupportedFormatError\n"
        "def predict_fn(data, model):\n"
        "    raise BaseInferenceToolkitError(422, 'too blue', 'Unprocessable')\n"
    )
    reply = ask(serve(code))
    assert (reply.status, json.loads(reply.body)) == (422, {"error": {"code": 422, "message": "too blue"}})
    code = PARTS + (
        "from sagemaker_inference import decoder, encoder\n"
        "def input_fn(body, content_type):\n    return decoder.decode(body, content_type), None\n"
        "def output_fn(prediction, accept):\n    return encoder.encode(prediction, accept)\n"
    )
    service = serve(code, folder="other")
    assert ask(service, content_type="image/png").status == 415
    assert ask(service, accept="image/png").status == 406


def test_other_errors_stay_what_they_are(serve):
    with pytest.raises(ZeroDivisionError):
        ask(serve(PARTS + "def predict_fn(data, model):\n    return 1 / 0\n"))


@pytest.mark.parametrize(
    ("returned", "body"),
    [
        ("b'bytes'", b"bytes"),
        ("'text'", b"text"),
        ("{'a': [1, 2.5, None]}", b'{"a":[1,2.5,null]}'),
        ("__import__('numpy').arange(3)", b"[0,1,2]"),
    ],
)
def test_output_fn_may_return_anything_that_can_be_written(serve, returned, body):
    reply = ask(serve(PARTS + f"def output_fn(prediction, accept):\n    return {returned}\n"))
    assert reply.body == body


def test_before_and_after_the_model_is_loaded(serve):
    code = (
        "seen = []\n"
        "def pre_model_fn(model_dir):\n    seen.append('pre')\n"
        "def model_fn(model_dir):\n    seen.append('model'); return seen\n"
        "def model_warmup_fn(model_dir, model):\n    model.append('warm')\n"
        "def transform_fn(model, data, content_type, accept):\n    return model\n"
    )
    assert json.loads(ask(serve(code)).body) == ["pre", "model", "warm"]


def test_two_models_may_both_have_an_inference_py(serve):
    first = serve(TRANSFORM.replace('"model"', '"first"'), folder="a")
    second = serve(TRANSFORM.replace('"model"', '"second"'), folder="b")
    assert ask(first).body.startswith(b"first")
    assert ask(second).body.startswith(b"second")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def predict_fn(data, model):\n    return 1\n", "inference.py defines no model_fn"),
        (
            PARTS + "def transform_fn(a, b, c, d):\n    pass\n",
            "transform_fn together with input_fn, predict_fn, output",
        ),
        (PARTS + "def batch_predict_fn(a, b):\n    pass\n", "defines predict_fn and batch_predict_fn"),
        (
            PARTS + "def input_fn(body):\n    pass\n",
            "input_fn of inference.py takes 1 arguments. Expected a function of 2",
        ),
        (PARTS + "output_fn = 3\n", "output_fn of inference.py is no function"),
        ("def model_fn(model_dir):\n    1 / 0\n", "inference.py failed to load the model: ZeroDivisionError"),
        ("import nothing_of_this_name\n", "inference.py failed when it was imported: ModuleNotFoundError"),
    ],
)
def test_what_cannot_be_served_is_refused_at_the_start(serve, code, words):
    with pytest.raises(ModelError, match=words):
        serve(code)


def test_a_script_of_another_name_must_be_there(serve, tmp_path):
    with pytest.raises(ModelError, match=r"SAGEMAKER_PROGRAM is 'mine.py', but .*Python files there: inference.py"):
        serve(PARTS, program="mine.py")
    with pytest.raises(ModelError, match=r"SAGEMAKER_PROGRAM is '../../x.py'"):
        serve(PARTS, folder="b", program="../../x.py")


def test_a_script_may_replace_one_part_of_an_artifact(artifact):
    (artifact.folder / "code").mkdir()
    (artifact.folder / "code" / "inference.py").write_text(
        "import numpy as np\ndef input_fn(body, content_type):\n    return np.full((2, 4), float(body))\n"
    )
    service = open_service(artifact.folder, Endpoint(), EngineSettings())
    reply = ask(service, b"3", "text/plain")
    np.testing.assert_allclose(json.loads(reply.body)["predictions"], artifact.answers(np.full((2, 4), 3.0)), atol=1e-6)
    assert json.loads(reply.body)["labels"] == artifact.labels(np.full((2, 4), 3.0))


def test_one_call_at_a_time_unless_more_are_allowed(serve):
    code = (
        "import threading\n"
        "here, both = [], threading.Event()\n"
        "def model_fn(model_dir):\n    return None\n"
        "def transform_fn(model, data, content_type, accept):\n"
        "    here.append(1)\n    most = len(here)\n"
        "    if WAIT:\n"
        "        if most == 2:\n            both.set()\n"
        "        both.wait(60)\n"
        "    here.pop()\n    return str(most)\n"
    )
    for threads, most in ((1, "1"), (2, "2")):
        service = serve(f"WAIT = {threads == 2}\n" + code, folder=f"of-{threads}", handler_threads=threads)
        with ThreadPoolExecutor(2) as pool:
            answers = [reply.body.decode() for reply in pool.map(lambda _, s=service: ask(s), range(2))]
        assert max(answers) == most


def test_a_batch_is_what_has_arrived(serve):
    code = (
        "import threading\n"
        "begun, go = threading.Event(), threading.Event()\n"
        "def model_fn(model_dir):\n    return []\n"
        "def batch_predict_fn(inputs, model):\n"
        "    model.append(len(inputs)); begun.set(); go.wait(60)\n"
        "    return [float(data.sum()) for data in inputs]\n"
    )
    service = serve(code)
    module = service._functions.batch_predict_fn.__globals__
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(ask, service, b"[1, 0]")
        assert module["begun"].wait(60)
        rest = [pool.submit(ask, service, f"[1, {n}]".encode()) for n in range(1, 6)]
        deadline = time.monotonic() + 60
        while len(service._batch._waiting) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        module["go"].set()
        assert [float(future.result().body) for future in [first, *rest]] == [1, 2, 3, 4, 5, 6]
    assert service._model == [1, 5]


def test_a_generator_is_an_answer_in_parts(serve):
    code = (
        "def model_fn(model_dir):\n    return None\n"
        "def predict_fn(data, model):\n    yield from ({'n': int(value)} for value in data)\n"
    )
    reply = ask(serve(code))
    assert reply.content_type == "application/jsonlines"
    assert list(reply.body) == [b'{"n":1}\n', b'{"n":2}\n']
    code += "def output_fn(prediction, accept):\n    return (f'<{part}>' for part in prediction), 'text/html'\n"
    reply = ask(serve(code, folder="other"))
    assert (reply.content_type, list(reply.body)) == ("text/html", [b"<{'n': 1}>", b"<{'n': 2}>"])


CHAT = """
from sagemaker_inference.errors import BaseInferenceToolkitError
def model_fn(model_dir):
    return "model"
def chat_fn(messages, model, context):
    last = messages[-1]["content"]
    if last == "refuse":
        raise BaseInferenceToolkitError(422, "not that", "Unprocessable")
    if last == "refuse later":
        return later()
    if last == "fail":
        raise ValueError("secret")
    if last == "number":
        return 3
    who = context.get_request_header(0, "x-who")
    return f"{model} heard {last} of {len(messages)} from {who} at {context.chat_request['temperature']}"
def later():
    raise BaseInferenceToolkitError(422, "not that", "Unprocessable")
    yield "never"
"""


def talk(service, text, **fields):
    messages = [{"role": "system", "content": "be kind"}, {"role": "user", "content": [{"type": "text", "text": text}]}]
    body = json.dumps({"messages": messages, "temperature": 0.5, **fields}).encode()
    return service.chat.answer(Invocation(body, "application/json", headers={"X-Who": "me"}))


def test_a_conversation_goes_to_chat_fn(serve):
    answer = json.loads(talk(serve(CHAT), "hello", model="mine").body)
    assert answer["choices"][0]["message"]["content"] == "model heard hello of 2 from me at 0.5"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["model"] == "mine"
    assert "usage" not in answer, "nobody has counted tokens"
    events = b"".join(talk(serve(CHAT, folder="b"), "hello", stream=True, stream_options={"include_usage": True}).body)
    assert b'"content":"model heard hello' in events
    assert b"usage" not in events
    assert events.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [True, False])
def test_what_chat_fn_refuses_is_told_and_what_fails_is_not(serve, stream):
    service = serve(CHAT)
    for text in ("refuse", "refuse later"):
        with pytest.raises(TwofoldError, match="not that") as error:
            list(talk(service, text, stream=stream).body)
        assert error.value.status == 422
    with pytest.raises(ValueError, match="secret"):
        talk(service, "fail", stream=stream)
    with pytest.raises(ModelError, match=r"chat_fn of inference.py gives int. Expected text"):
        list(talk(service, "number", stream=stream).body)


def test_without_chat_fn_there_is_no_chat(serve):
    assert serve(PARTS).chat is None
