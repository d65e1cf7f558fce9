"""WebSockets over real sockets: with a client of another make, and with frames broken by hand."""

import contextlib
import http.client
import socket
import struct
import threading

import pytest
from twofold.serve.gateway.websocket import Farewell
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

HANDSHAKE = (
    b"GET /talk HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
TEXT, BINARY, GOES_ON, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


def echo(incoming, head):
    yield from incoming


def pong(environ, start_response):
    start_response("200 OK", [("Content-Length", "0")])
    return [b""]


def frame(opcode, payload=b"", *, last=True, mask=True, reserved=0):
    """A frame as a client sends it, masked by zeros."""
    size = len(payload)
    length = bytes([size]) if size < 126 else b"\x7e" + struct.pack("!H", size)
    if size >= 1 << 16:
        length = b"\x7f" + struct.pack("!Q", size)
    first = (0x80 if last else 0) | reserved << 4 | opcode
    return bytes([first, length[0] | (0x80 if mask else 0)]) + length[1:] + (b"\0\0\0\0" if mask else b"") + payload


class Raw:
    """A client that sends what it is told."""

    def __init__(self, running, behind=b""):
        self.sock = running.connect()
        self.sock.sendall(HANDSHAKE + behind)
        self.file = self.sock.makefile("rb")
        self.status = self.file.readline()
        self.headers = {}
        while (line := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode().partition(":")
            self.headers[name.lower()] = value.strip()

    def frame(self):
        """The next frame: opcode and payload; None at the end."""
        start = self.file.read(2)
        if not start:
            return None
        size = start[1]
        if size == 126:
            size = struct.unpack("!H", self.file.read(2))[0]
        elif size == 127:
            size = struct.unpack("!Q", self.file.read(8))[0]
        return start[0] & 0x0F, self.file.read(size)

    def code(self):
        """The code that the server closes with, whatever comes before."""
        while (found := self.frame()) is not None:
            if found[0] == CLOSE:
                assert self.frame() is None, "nothing follows, and the connection is closed"
                return struct.unpack("!H", found[1][:2])[0]
        raise AssertionError("closed without a word")

    def close(self):
        self.file.close()
        self.sock.close()


@pytest.fixture
def talking(gateway):
    """`talking(talk, **limits)`: a loop whose connections are WebSockets."""
    return lambda talk, **limits: gateway(pong, talk=talk, **limits)


@pytest.fixture
def raw():
    """`raw(gateway)`: a client of frames made by hand."""
    with contextlib.ExitStack() as stack:

        def start(running, behind=b""):
            client = Raw(running, behind)
            stack.callback(client.close)
            return client

        yield start


def url(running):
    return f"ws://127.0.0.1:{running.address[1]}/talk?a=b"


def client(running, **options):
    return connect(url(running), proxy=None, close_timeout=20, max_size=None, **options)


def ping(running):
    with contextlib.closing(http.client.HTTPConnection(*running.address, timeout=30)) as connection:
        connection.request("GET", "/ping")
        return connection.getresponse().status


def test_messages_of_both_kinds_go_both_ways(talking):
    long = "ä" * 100_000
    with client(talking(echo)) as talk:
        for message in ("text", b"bytes", "", b"", long, b"\0" * 3_000_000):
            talk.send(message)
            assert talk.recv(30) == message
        talk.send(iter(["in ", "three ", "pieces"]))
        assert talk.recv(30) == "in three pieces"
    assert talk.close_code == 1000


def test_the_handshake_is_that_of_the_rfc(talking, raw):
    found = raw(talking(echo))
    assert found.status.startswith(b"HTTP/1.1 101 ")
    assert found.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert "sec-websocket-extensions" not in found.headers


def test_frames_behind_the_handshake_are_not_lost(talking, raw):
    assert raw(talking(echo), frame(TEXT, b"early")).frame() == (TEXT, b"early")


def test_frames_come_in_any_pieces(talking, raw):
    found = raw(talking(echo))
    for byte in frame(TEXT, "ä".encode()[:1], last=False) + frame(PING, b"p") + frame(GOES_ON, "ä".encode()[1:]):
        found.sock.sendall(bytes([byte]))
    assert found.frame() == (PONG, b"p")
    assert found.frame() == (TEXT, "ä".encode())


def test_who_talks_sees_the_address(talking):
    def talk(incoming, head):
        yield f"{head.path}?{head.query}"

    with client(talking(talk)) as found:
        assert found.recv(30) == "/talk?a=b"
        with pytest.raises(ConnectionClosed):
            found.recv(30)
        assert found.close_code == 1000


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, "ä".encode()[:1], last=False) + frame(GOES_ON, b""), 1007),
        (frame(TEXT, b"x", mask=False), 1002),
        (frame(3, b"x"), 1002),
        (frame(TEXT, b"x", reserved=4), 1002),
        (frame(GOES_ON, b"x"), 1002),
        (frame(TEXT, b"x", last=False) + frame(TEXT, b"x"), 1002),
        (frame(PING, b"x", last=False), 1002),
        (frame(PING, b"x" * 126), 1002),
        (frame(CLOSE, b"\x03"), 1002),
        (frame(CLOSE, struct.pack("!H", 1005)), 1002),
        (frame(BINARY, b"x" * 1001), 1009),
        (frame(BINARY, b"x" * 600, last=False) + frame(GOES_ON, b"x" * 600), 1009),
        (frame(BINARY, b"")[:1] + b"\xff" + struct.pack("!Q", 1 << 40) + b"\0\0\0\0" + b"x" * 2000, 1009),
        (frame(CLOSE, struct.pack("!H", 1000) + b"bye"), 1000),
        (frame(CLOSE, struct.pack("!H", 4321)), 4321),
    ],
)
def test_the_code_says_what_was_wrong(talking, raw, sent, code):
    found = raw(talking(echo, body=1000))
    found.sock.sendall(frame(TEXT, b"good"))
    assert found.frame() == (TEXT, b"good")
    found.sock.sendall(sent)
    assert found.code() == code


def test_a_close_without_a_code_is_answered_by_one_without(talking, raw):
    found = raw(talking(echo))
    found.sock.sendall(frame(CLOSE))
    assert found.frame() == (CLOSE, b"")
    assert found.frame() is None


@pytest.mark.parametrize(
    ("broken", "status"),
    [
        (HANDSHAKE.replace(b"Upgrade: websocket\r\n", b""), 400),
        (HANDSHAKE.replace(b"Connection: keep-alive, Upgrade\r\n", b""), 400),
        (HANDSHAKE.replace(b"Version: 13", b"Version: 8"), 426),
        (HANDSHAKE.replace(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b""), 400),
        (HANDSHAKE.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"), 400),
        (b"GET /talk HTTP/1.1\r\nHost: \xff\r\n\r\n", 400),
    ],
)
def test_what_is_no_handshake_is_refused_in_http(talking, broken, status):
    running = talking(echo)
    with running.connect() as found:
        found.sendall(broken)
        answer = found.recv(4096)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"Use a WebSocket client" in answer
    assert ping(running) == 200


def test_an_error_ends_it_with_its_code_and_reason(talking):
    def talk(incoming, head):
        yield next(incoming)
        raise Farewell(1008, "ö" * 100)

    with client(talking(talk)) as found:
        found.send("a")
        assert found.recv(30) == "a"
        with pytest.raises(ConnectionClosed) as closed:
            found.recv(30)
    assert closed.value.rcvd.code == 1008
    assert closed.value.rcvd.reason == "ö" * 61, "as much as a frame holds, no half character"


@pytest.mark.parametrize("rude", [False, True], ids=["close", "reset"])
def test_a_client_that_goes_ends_the_generator(talking, raw, rude):
    closed = threading.Event()

    def talk(incoming, head):
        try:
            while True:
                yield b"x" * 1000
        finally:
            closed.set()

    found = raw(talking(talk))
    assert found.frame() == (BINARY, b"x" * 1000)
    if rude:
        found.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        found.close()
    else:
        found.sock.sendall(frame(CLOSE, struct.pack("!H", 1001)))
        assert found.code() == 1001
    assert closed.wait(30)


def test_a_client_that_goes_ends_the_wait_for_its_next_message(talking, raw):
    ended = threading.Event()

    def talk(incoming, head):
        yield from incoming
        ended.set()

    raw(talking(talk)).close()
    assert ended.wait(30)


def test_a_client_that_does_not_read_is_waited_for_and_then_given_up(talking, raw, until):
    made, closed = [], threading.Event()

    def talk(incoming, head):
        try:
            while True:
                made.append(1)
                yield b"x" * 100_000
        finally:
            closed.set()

    running = talking(talk, stall=1.0)
    found = raw(running)
    assert closed.wait(30)
    assert len(made) < 1000, "it was held up long before"
    until(lambda: running.loop.open == 0, "the connection is dropped")
    assert found.status.startswith(b"HTTP/1.1 101")


def test_messages_that_nobody_takes_stay_with_the_client(talking, raw):
    go = threading.Event()

    def talk(incoming, head):
        go.wait(30)
        total = 0
        for message in incoming:
            total += len(message)
            if message[:1] == b"e":
                yield str(total)

    running = talking(talk)
    found = raw(running)
    piece = frame(BINARY, b"x" * 60_000)
    found.sock.settimeout(0.5)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < 3000:
            found.sock.sendall(piece)
            sent += 1
    assert 0 < sent < 3000, "the socket is full"
    assert ping(running) == 200
    go.set()
    # What was cut off by the time-out cannot be told; a client of another make goes through the same below.
    found.close()
    with client(running) as talk:
        for _ in range(100):
            talk.send(b"x" * 60_000)
        talk.send(b"e")
        assert talk.recv(30) == str(100 * 60_000 + 1)


def test_a_stop_lets_what_was_said_be_answered(talking):
    started, go = threading.Event(), threading.Event()

    def talk(incoming, head):
        for message in incoming:
            started.set()
            go.wait(30)
            yield f"answer to {message}"

    running = talking(talk)
    with client(running) as busy, client(running) as idle:
        busy.send("a")
        busy.send("b")
        assert started.wait(30)
        running.owner.stop()
        with pytest.raises(ConnectionClosed) as closed:
            idle.recv(30)
        assert closed.value.rcvd.code == 1001
        go.set()
        assert [busy.recv(30), busy.recv(30)] == ["answer to a", "answer to b"]
        with pytest.raises(ConnectionClosed) as closed:
            busy.recv(30)
        assert closed.value.rcvd.code == 1001


def test_a_stop_ends_what_would_go_on_for_ever(talking, monkeypatch):
    monkeypatch.setattr("twofold.serve.gateway.websocket.FAREWELL", 0.3)

    def talk(incoming, head):
        while True:
            yield "on and on"

    running = talking(talk)
    with client(running) as found:
        assert found.recv(30) == "on and on"
        running.owner.stop()
        assert set(found) <= {"on and on"}
        assert found.close_code == 1001


def test_a_silent_client_is_asked_and_then_given_up(talking, raw, until):
    running = talking(echo, ask=0.2, silent=1.2)
    assert raw(running).frame() == (PING, b"")
    until(lambda: running.loop.open == 0, "it is dropped")


@pytest.mark.slow
def test_a_client_that_answers_pings_stays(talking, raw):
    found = raw(talking(echo, ask=0.2, silent=4.0))
    for _ in range(7):
        assert found.frame() == (PING, b"")
        found.sock.sendall(frame(PONG))
    found.sock.sendall(frame(TEXT, b"here"))
    assert (TEXT, b"here") in (found.frame(), found.frame())


def test_nobody_may_be_there_for_ever_without_a_message(talking):
    with client(talking(echo, quiet=0.5)) as found, pytest.raises(ConnectionClosed) as closed:
        found.recv(30)
    assert closed.value.rcvd.code == 1001
    assert "No message" in closed.value.rcvd.reason


def test_there_is_a_bound(talking, monkeypatch, until):
    monkeypatch.setattr("twofold.serve.gateway.websocket.MOST", 2)
    running = talking(echo)
    with client(running), client(running):
        with pytest.raises(InvalidStatus) as refused:
            client(running)
        assert refused.value.response.status_code == 503
        assert refused.value.response.headers["Retry-After"] == "1"
        assert ping(running) == 200

    def again():
        with contextlib.suppress(InvalidStatus), client(running) as third:
            third.send("a")
            return third.recv(30) == "a"
        return False

    until(again, "a place is free")


def test_thousands_of_small_frames_hold_up_nobody(talking, raw):
    """A round of the loop takes a few kilobytes, so that the others have their turn."""
    running = talking(echo)
    flood = raw(running)
    flood.sock.sendall(frame(TEXT, b"a", last=False))
    stop = threading.Event()

    def send():
        with contextlib.suppress(OSError):
            while not stop.is_set():
                flood.sock.sendall(frame(GOES_ON, b"", last=False) * 20_000)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        assert [ping(running) for _ in range(20)] == [200] * 20
    finally:
        stop.set()
        flood.sock.shutdown(socket.SHUT_RDWR)
        thread.join(30)
