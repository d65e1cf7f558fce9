import contextlib
import http.client
import threading
import time

import pytest
from twofold.errors import Overloaded


def get(running, path="/", method="GET", body=None, headers=None):
    with contextlib.closing(http.client.HTTPConnection(*running.address, timeout=30)) as connection:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response, response.read()


def test_the_application_sees_the_request_as_wsgi_has_it(gateway):
    seen = {}

    def application(environ, start_response):
        seen.update(environ, body=environ["wsgi.input"].read())
        start_response("204 No Content", [])
        return []

    headers = {"Content-Type": "text/csv", "X-A": "b", "X_A": "smuggled", "Host": "name:1"}
    response, data = get(gateway(application), "/a%20b?c=d", "POST", b"1,2", headers)
    assert (response.status, data) == (204, b"")
    assert seen["REQUEST_METHOD"] == "POST"
    assert seen["PATH_INFO"] == "/a b"
    assert seen["QUERY_STRING"] == "c=d"
    assert seen["CONTENT_TYPE"] == "text/csv"
    assert seen["CONTENT_LENGTH"] == "3"
    assert seen["HTTP_X_A"] == "b", "a header with an underscore is left out"
    assert seen["SERVER_NAME"] == "name"
    assert seen["REMOTE_ADDR"] == "127.0.0.1"
    assert seen["body"] == b"1,2"


def test_an_answer_without_length_is_sent_as_it_comes(gateway):
    go = threading.Event()

    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"first"
        go.wait(30)
        yield b""
        yield b"second"

    running = gateway(application)
    connection = http.client.HTTPConnection(*running.address, timeout=30)
    connection.request("GET", "/")
    response = connection.getresponse()
    assert response.headers["Transfer-Encoding"] == "chunked"
    assert response.read(5) == b"first"
    go.set()
    assert response.read() == b"second"
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"firstsecond", "the connection goes on"
    connection.close()
    answer = running.raw(b"GET / HTTP/1.0\r\n\r\n")
    assert answer.endswith(b"\r\n\r\nfirstsecond"), "HTTP/1.0 knows no chunks"


def test_a_long_answer_of_known_length_arrives_whole(gateway):
    body = bytes(range(256)) * (1 << 14)

    def application(environ, start_response):
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body[: 1 << 20], body[1 << 20 :]]

    running = gateway(application)
    assert get(running)[1] == body
    response, data = get(running, method="HEAD")
    assert (response.headers["Content-Length"], data) == (str(len(body)), b"")


def test_a_client_that_goes_away_ends_the_generator(gateway):
    closed = threading.Event()

    def application(environ, start_response):
        start_response("200 OK", [])

        def parts():
            try:
                while True:
                    yield b"x" * 65536
            finally:
                closed.set()

        return parts()

    with gateway(application).connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        client.recv(1000)
    assert closed.wait(30)


def test_an_application_that_fails_is_500_and_after_its_first_part_a_break(gateway, caplog):
    def application(environ, start_response):
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/late":
            yield b"part"
        raise ZeroDivisionError("secret")

    running = gateway(application)
    response, data = get(running)
    assert response.status == 500
    assert b"secret" not in data
    assert "secret" in caplog.text
    with pytest.raises(http.client.IncompleteRead):
        get(running, "/late")


def test_write_of_wsgi_is_refused(gateway):
    def application(environ, start_response):
        start_response("200 OK", [])(b"old")
        return []

    assert get(gateway(application))[0].status == 500


def test_threads_are_started_as_they_are_needed_and_a_full_queue_refuses(gateway, until):
    go, running_now = threading.Event(), []

    def application(environ, start_response):
        running_now.append(threading.current_thread().name)
        go.wait(30)
        start_response("204 No Content", [])
        return []

    running = gateway(application, threads=2, waiting=1)
    refused = []
    submit = running.handler.threads.submit

    def note(exchange):
        try:
            submit(exchange)
        except Overloaded as error:
            refused.append(error.retry_after)
            running.loop.abort(exchange)

    running.handler.threads.submit = note
    clients = []
    for number in range(4):
        client = running.connect()
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        clients.append(client)
        until(lambda number=number: len(running_now) == min(number + 1, 2), "two run")
        if number == 3:
            assert 0 < running.handler.threads.oldest("/") <= time.monotonic()
            assert running.handler.threads.oldest("/other") == 0
            until(lambda: refused, "the fourth is refused")
    go.set()
    found = [b"".join(iter(lambda client=client: client.recv(1000), b"")) for client in clients]
    assert sorted(bool(answer) for answer in found) == [False, True, True, True]
    for client in clients:
        client.close()
