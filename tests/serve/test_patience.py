"""What takes a server minutes or thousands of connections to show."""

import re
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

GROWTH = Path(__file__).parents[2] / "benchmarks" / "serve_growth.py"
ROW = b"1,2,3,4\n"
CSV = {"Content-Type": "text/csv"}
IDLE = 5000

pytestmark = pytest.mark.slow


@pytest.fixture
def open_files():
    """As many open files as 5,000 connections need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2 * IDLE), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_five_thousand_idle_connections_do_not_matter(serving, classifier, until, open_files):
    server = serving(classifier.base, SAGEMAKER_MODEL_SERVER_WORKERS="2").ready()

    def connections():
        text = server.ask("GET", "/metrics")[2].decode()
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith("twofold_connections "))

    idle = [socket.create_connection(("127.0.0.1", server.port), timeout=40) for _ in range(IDLE)]
    until(lambda: connections() > IDLE, "all are accepted")
    assert server.ask("GET", "/ping")[0] == 200
    assert server.ask("POST", "/invocations", ROW, CSV)[0] == 200
    for client in (idle[0], idle[-1]):
        client.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    for client in idle:
        client.close()
    until(lambda: connections() < 10, "all are gone")
    assert server.stop() == 0


def test_a_connection_that_was_idle_for_longer_than_a_proxy_keeps_it_is_still_good(serving, classifier):
    connection = serving(classifier.base).ready().connect()
    for pause in (66, 0):
        connection.request("POST", "/invocations", ROW, CSV)
        assert connection.getresponse().read()
        time.sleep(pause)
    connection.request("POST", "/invocations", ROW, CSV)
    assert connection.getresponse().status == 200
    connection.close()


def test_a_batch_transform_takes_longer_bodies_than_an_endpoint(serving, classifier):
    server = serving(classifier.base, SAGEMAKER_BATCH="true", SAGEMAKER_MODEL_SERVER_WORKERS="1").ready()
    assert server.ask("POST", "/invocations", ROW.ljust(30 << 20), CSV)[0] == 200
    status, _, body = server.ask("POST", "/invocations", ROW.ljust(101 << 20), CSV)
    assert (status, b"100 MB" in body) == (413, True)
    unlimited = serving(
        classifier.base, SAGEMAKER_BATCH="true", SAGEMAKER_MAX_PAYLOAD_IN_MB="0", SAGEMAKER_MODEL_SERVER_WORKERS="1"
    ).ready()
    assert unlimited.ask("POST", "/invocations", ROW.ljust(101 << 20), CSV)[0] == 200


def test_forty_thousand_good_and_bad_requests_leave_nothing_behind(program):
    asked = [sys.executable, GROWTH, program.base, "--requests", "40000"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=250, check=True)
    sizes = [
        [float(size) for size in columns.split(",")]
        for columns in re.findall(r"^\| [\d,]+ \| \d+ \| ([\d., ]+) \|", done.stdout, re.MULTILINE)
    ]
    growth = [after - before for before, after in zip(sizes[5], sizes[-1], strict=True)]
    # Each worker has answered 10,000 in between: 500 bytes of each would be 5 MB.
    assert max(growth) < 5, done.stdout
    assert re.search(r"Answers by status: 200: .* 400: ", done.stdout)
