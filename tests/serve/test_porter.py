import contextlib
import http.client
import json
import os
import socket
import threading

import pytest
from twofold.errors import PlatformError
from twofold.serve.porter import Porter


@pytest.fixture
def porter():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    porter = Porter(port)
    porter.port = port
    yield porter
    with contextlib.suppress(OSError):
        os.close(porter.hand_over())


def ask(port, method="GET"):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, "/ping")
        response = connection.getresponse()
        return response, response.read()


def test_it_says_what_the_server_waits_for(porter):
    for state in ("loading", "warming"):
        porter.state = state
        response, body = ask(porter.port)
        assert response.status == 503
        assert response.headers["Retry-After"]
        assert json.loads(body)["error"]["message"].startswith(state)
    assert ask(porter.port, "HEAD")[1] == b""


def test_who_comes_and_goes_without_a_word_holds_nobody_up(porter):
    socket.create_connection(("127.0.0.1", porter.port)).close()
    assert ask(porter.port)[0].status == 503


def test_the_port_of_another_is_told(porter):
    with pytest.raises(PlatformError, match=f"Port {porter.port} cannot be opened"):
        Porter(porter.port)


def test_what_it_hands_over_still_listens(porter):
    before = {thread.name for thread in threading.enumerate()}
    assert "porter" in before
    with socket.socket(fileno=porter.hand_over()) as listener:
        assert "porter" not in {thread.name for thread in threading.enumerate()}
        with socket.create_connection(("127.0.0.1", porter.port)):
            listener.setblocking(True)
            listener.accept()[0].close()
    porter.hand_over = lambda: -1
