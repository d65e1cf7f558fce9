import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twofold.serve.gateway.intake import SPOOL, Intake

BODY = b"1,2,3\r\n\r\nGET / HTTP/1.1\r\n\r\n"


def post(body, *lines, length=True):
    lines = [*lines, b"Content-Length: %d" % len(body)] if length else lines
    return b"\r\n".join([b"POST /invocations HTTP/1.1", b"Host: x", *lines, b"", body])


def chunked(body, size):
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    coded = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    return post(coded, b"Transfer-Encoding: chunked", length=False)


@pytest.fixture
def intake(tmp_path):
    return lambda limit=None: Intake(limit, tmp_path)


def requests(intake, data, step):
    """All requests of bytes that come in pieces."""
    for start in range(0, len(data), step):
        request = intake.feed(data[start : start + step])
        while request is not None:
            yield request
            request = intake.next()


@settings(max_examples=50, deadline=None)
@given(step=st.integers(1, 200), order=st.lists(st.sampled_from("lcg"), max_size=6))
def test_requests_come_out_however_the_network_cuts_them(tmp_path_factory, step, order):
    kinds = {"l": post(BODY), "c": chunked(BODY, 5), "g": b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"}
    intake = Intake(None, tmp_path_factory.getbasetemp())
    found = list(requests(intake, b"".join(kinds[kind] for kind in order), step))
    assert [request.body for request in found] == [b"" if kind == "g" else BODY for kind in order]
    assert [request.head.method for request in found] == ["GET" if kind == "g" else "POST" for kind in order]
    assert intake.waiting


def test_a_line_too_much_after_a_body_is_overlooked(intake):
    found = list(requests(intake(), post(b"a") + b"\r\n" + post(b"b"), 1000))
    assert [request.body for request in found] == [b"a", b"b"]


@pytest.mark.parametrize("make", [post, lambda body: chunked(body, 7)], ids=["length", "chunked"])
def test_a_body_up_to_twice_the_limit_is_read_and_refused(intake, make):
    reader = intake(20)
    found = list(requests(reader, make(b"x" * 20) + make(b"x" * 21) + make(b"x" * 40) + make(b"x"), 9))
    assert [request.error and request.error.status for request in found] == [None, 413, 413, None]
    assert not any(request.last for request in found)
    found = next(requests(reader, make(b"x" * 49), 9))
    assert found.error.status == 413
    assert found.last


def test_who_asks_before_sending_is_refused_before_sending(intake):
    request = intake(20).feed(post(b"x" * 21, b"Expect: 100-continue")[:-21])
    assert request.error.status == 413
    assert request.last
    waiting = intake(20)
    assert waiting.feed(post(b"x" * 20, b"Expect: 100-continue")[:-20]) is None
    assert waiting.head.expects_continue


@pytest.mark.parametrize("make", [post, lambda body: chunked(body, 1 << 20)], ids=["length", "chunked"])
def test_a_long_body_is_kept_in_a_file(intake, make, tmp_path):
    body = os.urandom(1 << 20) * (SPOOL // (1 << 20)) + b"end"
    reader = intake()
    (request,) = requests(reader, make(body), 1 << 16)
    assert request.body == b""
    assert request.size == len(body)
    with request.file:
        assert request.file.read() == body
    assert list(tmp_path.iterdir()) == [], "the file has no name"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\nX: " + b"a" * (40 << 10), 431),
        (b"\x16\x03\x01\r\n\r\n", 400),
        (post(b"zz\r\n", b"Transfer-Encoding: chunked", length=False), 400),
        (post(b"0\r\n\r\n", b"Transfer-Encoding: chunked"), 400),
    ],
)
@pytest.mark.parametrize("step", [1 << 20, 1000])
def test_what_is_no_request_is_the_last_of_its_connection(intake, data, status, step):
    request = next(requests(intake(), data, step))
    assert request.error.status == status
    assert request.last
