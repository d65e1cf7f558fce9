import io

import pytest
from flask import Request
from gunicorn.http.errors import InvalidChunkSize
from twofold.errors import PayloadTooLarge, RequestError
from twofold.serve.body import read_body

MEGABYTE = 1 << 20


class Endless(io.RawIOBase):
    """A body that never ends, and counts what was taken from it."""

    taken = 0

    def read(self, size=-1):
        self.taken += size
        return b"x" * size


class Broken(io.RawIOBase):
    def __init__(self, error):
        self.error = error

    def read(self, size=-1):
        raise self.error


def request(stream, length=None):
    environ = {"wsgi.input": stream, "REQUEST_METHOD": "POST", "wsgi.input_terminated": True}
    return Request(environ if length is None else {**environ, "CONTENT_LENGTH": str(length)})


@pytest.mark.parametrize("length", [None, 3])
def test_a_body_of_just_the_limit_is_whole(length):
    assert read_body(request(io.BytesIO(b"abc"), length), 3) == b"abc"


@pytest.mark.parametrize("length", [None, 4])
def test_one_byte_more_is_refused_with_the_bound(length):
    stream = io.BytesIO(b"abcd")
    with pytest.raises(PayloadTooLarge, match=r"4 bytes or more, expected at most 3 .* SAGEMAKER_MAX_PAYLOAD_IN_MB"):
        read_body(request(stream, length), 3)
    assert stream.read() == b"", "a body a little too long is read to its end"


def test_without_a_limit_everything_is_taken():
    assert len(read_body(request(io.BytesIO(bytes(3 * MEGABYTE))), None)) == 3 * MEGABYTE


def test_an_endless_body_is_given_up():
    stream = Endless()
    with pytest.raises(PayloadTooLarge):
        read_body(request(stream), 2 * MEGABYTE)
    assert stream.taken <= 6 * MEGABYTE


def test_a_length_far_over_the_limit_is_refused_unread():
    stream = Endless()
    with pytest.raises(PayloadTooLarge, match="1000000 bytes"):
        read_body(request(stream, 1_000_000), 10)
    assert stream.taken == 0


def test_a_body_cut_short_is_refused():
    with pytest.raises(RequestError, match="ended after 2 bytes, expected 3"):
        read_body(request(io.BytesIO(b"ab"), 3), 10)


@pytest.mark.parametrize("error", [ConnectionResetError(), InvalidChunkSize(b"zz")])
def test_a_body_that_cannot_be_read_is_the_clients_fault(error):
    with pytest.raises(RequestError, match="ended early or its chunks are broken"):
        read_body(request(Broken(error)), 10)


def test_a_server_that_does_not_end_bodies_has_none_without_a_length():
    assert read_body(Request({"wsgi.input": Endless(), "REQUEST_METHOD": "POST"}), 10) == b""
