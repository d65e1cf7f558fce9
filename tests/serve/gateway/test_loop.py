"""The loop over real sockets, with clients as slow, rude and numerous as they come."""

import socket
import threading
import time

import pytest

PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def echo(environ, start_response):
    body = environ["wsgi.input"].read() or environ["PATH_INFO"].encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def post(body, *lines):
    head = [b"POST /echo HTTP/1.1", b"Host: x", b"Content-Length: %d" % len(body), *lines, b"", b""]
    return b"\r\n".join(head) + body


def answers(client, number):
    """Bodies of the next answers, by their Content-Length."""
    file = client.makefile("rb")
    for _ in range(number):
        status = file.readline()
        length = 0
        while (line := file.readline()) not in (b"\r\n", b""):
            if line.lower().startswith(b"content-length"):
                length = int(line.split(b":")[1])
        yield status, file.read(length)


def test_requests_sent_at_once_are_answered_in_order(gateway):
    running = gateway(echo)
    with running.connect() as client:
        client.sendall(post(b"one") + PING + post(b"three") * 50 + LAST)
        found = [body for _, body in answers(client, 53)]
        assert found == [b"one", b"/ping", *[b"three"] * 50, b"/ping"]
        assert client.recv(1) == b""


def test_bytes_that_come_one_by_one_make_a_request(gateway):
    running = gateway(echo)
    with running.connect() as client:
        for byte in post(b"slow"):
            client.sendall(bytes([byte]))
        assert next(answers(client, 1))[1] == b"slow"


def test_a_client_that_asks_is_told_to_go_on(gateway):
    running = gateway(echo, body=10)
    with running.connect() as client:
        client.sendall(post(b"12345", b"Expect: 100-continue")[:-5])
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"12345")
        assert next(answers(client, 1))[1] == b"12345"
        client.sendall(post(b"x" * 11, b"Expect: 100-continue")[:-11])
        status, body = next(answers(client, 1))
        assert b"413" in status
        assert b"at most 10" in body
        assert client.recv(1) == b"", "what follows would be the body that was not asked for"


@pytest.mark.parametrize(
    ("sent", "status"),
    [(b"GET /ping HT", b"408"), (post(b"12345")[:-2], b"408")],
    ids=["head", "body"],
)
def test_who_stops_in_the_middle_is_told_and_closed(gateway, sent, status):
    running = gateway(echo, head=0.3, stall=0.3, whole=0.6, idle=60)
    assert status in running.raw(sent).partition(b"\r\n")[0]


def test_a_body_that_drips_is_ended_by_its_whole_time(gateway):
    running = gateway(echo, stall=30, whole=1.5)
    with running.connect() as client:
        client.sendall(post(b"x" * 1000)[:-1000])
        client.settimeout(0.05)
        end = time.monotonic() + 30
        answer = b""
        while not answer:
            assert time.monotonic() < end
            client.sendall(b"x")
            try:
                answer = client.recv(1000)
            except TimeoutError:
                continue
        assert b" 408 " in answer


def test_an_idle_connection_is_closed_without_a_word(gateway):
    running = gateway(echo, idle=0.2)
    assert running.raw(b"") == b""
    with running.connect() as client:
        client.sendall(PING)
        assert next(answers(client, 1))[1] == b"/ping"
        assert client.recv(1) == b""


def test_a_client_that_does_not_read_is_given_up(gateway, until):
    running = gateway(echo, stall=0.5)
    with running.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(post(b"x" * (16 << 20)))
        until(lambda: running.loop.open == 0, "the connection is dropped")


def test_an_early_end_is_400(gateway):
    running = gateway(echo)
    with running.connect() as client:
        client.sendall(post(b"12345")[:-2])
        client.shutdown(socket.SHUT_WR)
        assert b" 400 " in client.recv(100)


def test_a_smuggled_request_is_never_seen(gateway):
    seen = []

    def application(environ, start_response):
        seen.append(environ["PATH_INFO"])
        return echo(environ, start_response)

    running = gateway(application)
    inner = b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n"
    for lines in (
        b"Content-Length: %d\r\nTransfer-Encoding: chunked" % len(inner),
        b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        b"Transfer-Encoding: identity, chunked",
        b"Transfer-Encoding : chunked",
        b"Content-Length: 0\r\nContent-Length: %d" % len(inner),
    ):
        answer = running.raw(b"POST /a HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n\r\n0\r\n\r\n" + inner)
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501")), lines
        assert answer.count(b"\r\nDate: ") == 1, "the rest of the connection is thrown away"
    assert seen == []


def test_five_hundred_idle_connections_do_not_matter(gateway, until):
    running = gateway(echo)
    idle = [running.connect() for _ in range(500)]
    until(lambda: running.loop.open == 500, "all are accepted")
    assert running.raw(LAST).endswith(b"/ping")
    for client in idle:
        client.close()
    until(lambda: running.loop.open == 0, "all are gone")


def test_more_connections_than_allowed_wait_for_a_place(gateway):
    running = gateway(echo, connections=3)
    first = [running.connect() for _ in range(3)]
    for client in first:
        client.sendall(PING)
        assert next(answers(client, 1))[1] == b"/ping"
    with running.connect() as late:
        late.sendall(LAST)
        late.settimeout(0.3)
        with pytest.raises(TimeoutError):
            late.recv(1)
        first[0].close()
        late.settimeout(30)
        assert next(answers(late, 1))[1] == b"/ping"
    for client in first[1:]:
        client.close()


def test_the_order_to_stop_lets_what_is_there_end(gateway, until):
    go, started = threading.Event(), threading.Event()

    def slow(environ, start_response):
        started.set()
        go.wait(30)
        return echo(environ, start_response)

    running = gateway(slow, farewell=0.2)
    with running.connect() as busy, running.connect() as half, running.connect() as idle:
        busy.sendall(post(b"busy"))
        half.sendall(post(b"half")[:-1])
        assert started.wait(30)
        until(lambda: running.loop.open == 3, "all are there")
        running.owner.stop()
        assert idle.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            running.connect()
        half.sendall(b"f")
        go.set()
        for client, body in ((busy, b"busy"), (half, b"half")):
            answer = b"".join(iter(lambda client=client: client.recv(1000), b""))
            assert answer.endswith(body)
            assert b"Connection: close" in answer
    running.thread.join(30)
    assert not running.thread.is_alive()


def test_a_stop_does_not_wait_for_ever(gateway):
    release = threading.Event()

    def stuck(environ, start_response):
        release.wait(30)
        return echo(environ, start_response)

    running = gateway(stuck, drain=0.3)
    with running.connect() as client:
        client.sendall(post(b"x"))
        start = time.monotonic()
        running.owner.stop()
        running.thread.join(20)
        assert not running.thread.is_alive()
        assert time.monotonic() - start < 20
        release.set()


def test_connections_move_to_a_worker_that_begins_later_and_none_is_lost(gateway, until):
    first = gateway(echo)
    clients = [first.connect() for _ in range(9)]
    half = post(b"half of it")
    for client in clients:
        client.sendall(post(b"before"))
        assert next(answers(client, 1))[1] == b"before"
    clients[0].sendall(half[:-4])
    second = gateway(echo, beside=first)
    until(lambda: (first.loop.open, second.loop.open) == (5, 4), "they are even")
    clients[0].sendall(half[-4:])
    assert next(answers(clients[0], 1))[1] == b"half of it"
    for client in clients:
        client.sendall(post(b"one") + post(b"two"))
        assert [body for _, body in answers(client, 2)] == [b"one", b"two"]
        client.close()
    until(lambda: first.loop.open == second.loop.open == 0, "all are closed")
