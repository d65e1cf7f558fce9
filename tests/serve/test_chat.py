"""Conversations in OpenAI's form."""

import orjson
import pytest
from twofold.errors import RequestError
from twofold.serve.chat import ChatService, read_request
from twofold.serve.invocation import Invocation


class Parrot:
    """Says what it was asked, letter by letter."""

    def generate(self, request, invocation):
        return Said(request)


class Said:
    def __init__(self, request):
        self.prompt_tokens, self.completion_tokens = len(request.prompt), 0
        self.text, self.closed = request.prompt[: request.limit], False

    def __iter__(self):
        for letter in self.text:
            self.completion_tokens += 1
            yield letter


def ask(**fields):
    service = ChatService(Parrot(), "parrot")
    body = {"messages": [{"role": "user", "content": "one two three"}], **fields}
    return service.answer(Invocation(orjson.dumps(body)))


def events(reply):
    lines = b"".join(reply.body).decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [orjson.loads(line.removeprefix("data: ")) for line in lines[:-2]]


def test_a_whole_answer():
    answer = orjson.loads(ask().body)
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "parrot"
    assert answer["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "one two three"}, "finish_reason": "stop"}
    ]
    assert answer["usage"] == {"prompt_tokens": 13, "completion_tokens": 13, "total_tokens": 26}


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_an_answer_that_was_cut_says_so(field):
    (choice,) = orjson.loads(ask(**{field: 5}).body)["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("one t", "length")


def test_a_stream_has_the_same_text_in_pieces():
    reply = ask(stream=True, stream_options={"include_usage": True}, model="mine")
    assert reply.content_type == "text/event-stream"
    found = events(reply)
    assert {event["object"] for event in found} == {"chat.completion.chunk"}
    assert {event["model"] for event in found} == {"mine"}
    assert len({event["id"] for event in found}) == 1
    deltas = [event["choices"][0] for event in found if event["choices"]]
    assert deltas[0]["delta"]["role"] == "assistant"
    assert "".join(choice["delta"].get("content", "") for choice in deltas) == "one two three"
    assert [choice["finish_reason"] for choice in deltas] == [None] * (len(deltas) - 1) + ["stop"]
    assert found[-1]["usage"]["completion_tokens"] == 13


@pytest.mark.parametrize(
    ("stop", "text"),
    [("two", "one "), (["three", "two"], "one "), ("e t", "on"), ("three!", "one two three"), ("zz", "one two three")],
)
@pytest.mark.parametrize("stream", [True, False])
def test_a_text_that_ends_the_answer_is_not_part_of_it(stop, text, stream):
    reply = ask(stop=stop, stream=stream)
    if stream:
        found = "".join(event["choices"][0]["delta"].get("content", "") for event in events(reply))
    else:
        found = orjson.loads(reply.body)["choices"][0]["message"]["content"]
    assert found == text


def test_parts_and_turns_are_one_prompt_and_other_parameters_are_ignored():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages = [{"role": "system", "content": "be short"}, {"role": "user", "content": parts}]
    request = read_request(orjson.dumps({"messages": messages, "logprobs": True, "user": "x"}))
    assert request.prompt == "be short\nab"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "The body is no JSON"),
        (b"[]", "body: Input should be"),
        (b"{}", "messages: Field required"),
        (b'{"messages": []}', "messages: List should have at least 1 item"),
        (b'{"messages": [{"role": "user"}]}', "messages.0.content: Field required"),
        (
            b'{"messages": [{"role": "user", "content": "a"}], "temperature": -1}',
            "temperature: Input should be greater",
        ),
        (b'{"messages": [{"role": "user", "content": "a"}], "temperature": false}', "temperature: Input should be a"),
        (b'{"messages": [{"role": "user", "content": "a"}], "n": 2}', "n: Input should be 1"),
        (b'{"messages": [{"role": "user", "content": "a"}], "max_tokens": 0}', "max_tokens: Input should be greater"),
    ],
)
def test_mistakes_are_named(body, message):
    with pytest.raises(RequestError, match=message):
        read_request(body)
