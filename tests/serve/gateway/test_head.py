import pytest
from twofold.errors import ProtocolError
from twofold.serve.gateway.head import MAX_HEADERS, MAX_TARGET, parse_head


def head(first=b"POST /invocations HTTP/1.1", *lines, host=b"Host: x"):
    return b"\r\n".join([first, *filter(None, [host]), *lines, b"", b""])


def test_a_head_is_read():
    read = parse_head(
        head(
            b"POST /a%20b/c?d=e&f HTTP/1.1",
            b"Content-Type: text/csv",
            b"content-length: 12",
            b"Accept: text/csv",
            b"Accept: */*;q=0.1",
            b"X-Amzn-SageMaker-Custom-Attributes: a=\xe4",
        )
    )
    assert (read.method, read.path, read.query, read.version) == ("POST", "/a b/c", "d=e&f", "1.1")
    assert (read.length, read.has_length, read.chunked, read.keep_alive) == (12, True, False, True)
    assert read.content_type == "text/csv"
    assert read.accept == "text/csv, */*;q=0.1"
    assert read.custom_attributes == "a=\xe4"
    assert read.get("host") == "x"
    assert read.get("x-nothing") == ""


@pytest.mark.parametrize(
    ("data", "keep_alive"),
    [
        (head(), True),
        (head(b"GET / HTTP/1.1", b"Connection: close"), False),
        (head(b"GET / HTTP/1.0", host=None), False),
        (head(b"GET / HTTP/1.0", b"Connection: keep-alive", host=None), True),
        (head(b"GET / HTTP/1.1", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c"), True),
    ],
)
def test_a_connection_is_kept_as_the_client_wants(data, keep_alive):
    assert parse_head(data).keep_alive is keep_alive


@pytest.mark.parametrize("target", [b"http://host:80/ping?x", b"/ping?x"])
def test_a_whole_url_is_an_address_too(target):
    read = parse_head(head(b"GET " + target + b" HTTP/1.1"))
    assert (read.path, read.query) == ("/ping", "x")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (head(b"POST / HTTP/1.1", b"Content-Length: 4", b"Transfer-Encoding: chunked"), 400),
        (head(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", b"Content-Length: 4"), 400),
        (head(b"POST / HTTP/1.1", b"Content-Length: 4", b"Content-Length: 4"), 400),
        (head(b"POST / HTTP/1.1", b"Content-Length: 4, 4"), 400),
        (head(b"POST / HTTP/1.1", b"Content-Length: +4"), 400),
        (head(b"POST / HTTP/1.1", b"Content-Length: 99999999999999999999"), 400),
        (head(b"POST / HTTP/1.1", b"Transfer-Encoding: xchunked"), 400),
        (head(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 400),
        (head(b"POST / HTTP/1.1", b"Transfer-Encoding: gzip, chunked"), 501),
        (head(b"POST / HTTP/1.1", b"Content-Length : 4"), 400),
        (head(b"POST / HTTP/1.1", b"X: a", b" b"), 400),
        (head(b"POST / HTTP/1.1", b"X: a\nY: b"), 400),
        (head(b"POST / HTTP/1.1", b"X: a\x00b"), 400),
        (head(b"POST / HTTP/1.1", b": b"), 400),
        (head(b"POST / HTTP/1.1\n"), 400),
        (head(b"POST / HTTP/1.1", b"Host: y"), 400),
        (head(b"POST / HTTP/1.1", host=None), 400),
        (head(b"POST / HTTP/1.1", b"Expect: 200-ok"), 417),
        (head(b"GET / HTTP/2.0"), 505),
        (head(b"GET / HTTP/1.2"), 400),
        (head(b"PRI * HTTP/2.0", host=None), 505),
        (head(b"CONNECT a:1 HTTP/1.1"), 400),
        (head(b"HELLO / HTTP/1.1"), 400),
        (head(b"\x16\x03\x01\x02"), 400),
        (head(b"GET /\xff HTTP/1.1"), 400),
        (head(b"GET /" + b"a" * MAX_TARGET + b" HTTP/1.1"), 414),
        (head(b"GET / HTTP/1.1", *[b"X: y"] * MAX_HEADERS), 431),
    ],
)
def test_what_is_no_http_or_can_be_read_in_two_ways_is_refused(data, status):
    with pytest.raises(ProtocolError) as error:
        parse_head(data)
    assert error.value.status == status
