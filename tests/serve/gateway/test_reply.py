import http.client
import io
import json

import pytest
from twofold.errors import Overloaded, RequestError
from twofold.serve.gateway.head import parse_head
from twofold.serve.gateway.reply import full, refusal, start_of


class Answer(http.client.HTTPResponse):
    """Bytes as the standard library's client reads them."""

    def __init__(self, data, method="GET"):
        self.file = io.BytesIO(data)
        super().__init__(self, method=method)
        self.begin()

    def makefile(self, _mode):
        return self.file


def head(first="GET / HTTP/1.1", *lines):
    return parse_head("\r\n".join([first, "Host: x", *lines, "", ""]).encode())


def test_an_answer_says_what_it_is():
    answer = Answer(full(head(), 200, b"abc", "text/csv", keep_alive=True, more=[("X-A", "b")]))
    assert (answer.status, answer.read()) == (200, b"abc")
    assert answer.headers["Content-Type"] == "text/csv"
    assert answer.headers["X-A"] == "b"
    assert answer.headers["Date"].endswith("GMT")
    assert answer.headers["Connection"] is None


def test_head_gets_the_length_and_no_body():
    data = full(head("HEAD / HTTP/1.1"), 200, b"abc", keep_alive=True)
    assert data.endswith(b"\r\n\r\n")
    assert Answer(data, "HEAD").headers["Content-Length"] == "3"


@pytest.mark.parametrize(
    ("first", "keep_alive", "said"),
    [("GET / HTTP/1.1", False, "close"), ("GET / HTTP/1.0", True, "keep-alive"), ("GET / HTTP/1.0", False, "close")],
)
def test_the_connection_is_named_where_it_is_not_implied(first, keep_alive, said):
    assert Answer(full(head(first), 200, b"", keep_alive=keep_alive)).headers["Connection"] == said


def test_a_refusal_is_json_and_repeats_custom_attributes():
    request = head("GET / HTTP/1.1", "X-Amzn-SageMaker-Custom-Attributes: a=b")
    answer = Answer(refusal(request, RequestError("wrong"), keep_alive=True))
    assert answer.status == 400
    assert answer.headers["X-Amzn-SageMaker-Custom-Attributes"] == "a=b"
    assert json.loads(answer.read()) == {"error": {"code": 400, "message": "wrong"}}
    assert Answer(refusal(None, Overloaded("busy", 7), keep_alive=False)).headers["Retry-After"] == "7"


def test_an_answer_in_parts_leaves_the_frame_to_us():
    headers = [("Content-Type", "text/plain"), ("Connection", "weird"), ("Transfer-Encoding", "gzip")]
    answer = Answer(start_of(head(), "200 OK", headers, chunked=True, keep_alive=True) + b"3\r\nabc\r\n0\r\n\r\n")
    assert answer.read() == b"abc"
    assert answer.headers["Connection"] is None
