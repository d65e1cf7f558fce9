"""A server with a slow model, asked over sockets: what `/ping`, `/metrics` and the log tell."""

import contextlib
import json
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROW = b"1,2,3,4\n"
CSV = {"Content-Type": "text/csv"}


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def lines(server):
    """Lines of the log that are JSON."""
    return [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def server(serving, classifier):
    return serving(
        classifier.base,
        SAGEMAKER_MODEL_SERVER_WORKERS="2",
        TWOFOLD_ACCESS_LOG="true",
        TWOFOLD_METRICS_SECONDS="1",
    ).ready()


def test_a_request_leaves_a_line(server, until):
    headers = {**CSV, "X-Amzn-SageMaker-Inference-Id": "my-id", "X-Amzn-SageMaker-Custom-Attributes": "trace=9"}
    server.ask("POST", "/invocations", ROW, headers)
    server.ask("POST", "/invocations", b"x", {**headers, "X-Amzn-SageMaker-Inference-Id": "bad-id"})

    def line(name):
        return next((entry for entry in lines(server) if entry.get("request_id") == name), None)

    good = until(lambda: line("my-id"), "the line is there")
    assert (good["method"], good["path"], good["status"], good["rows"]) == ("POST", "/invocations", 200, 1)
    assert good["custom_attributes"] == "trace=9"
    assert good["bytes_in"] == len(ROW)
    assert good["bytes_out"] > 0
    assert set(good["milliseconds"]) == {"total", "queue", "decode", "model", "encode"}
    assert good["milliseconds"]["total"] > 0
    assert until(lambda: line("bad-id"), "the line is there")["status"] == 400
    until(lambda: "Refused bad-id trace=9 with 400" in server.log, "the reason names the request")


def test_ping_and_metrics_leave_no_line(server, until):
    for path in ("/ping", "/metrics"):
        assert server.ask("GET", path)[0] == 200
    server.ask("GET", "/other")
    until(lambda: any(entry.get("path") == "/other" for entry in lines(server)), "the line is there")
    assert not [entry for entry in lines(server) if entry.get("path") in {"/ping", "/metrics"}]


def test_metrics_are_those_of_both_workers(server):
    def count():
        text = server.ask("GET", "/metrics")[2].decode()
        found = [line for line in text.splitlines() if line.startswith('twofold_requests_total{outcome="ok"}')]
        return float(found[0].split()[1])

    before = count()
    for _ in range(10):
        assert server.ask("POST", "/invocations", ROW, CSV)[0] == 200
    assert count() == before + 10
    assert count() == before + 10, "whichever worker is asked"
    body = b"".join(ROW for _ in range(40_000))
    assert server.ask("POST", "/invocations", body, CSV)[0] == 200
    assert count() == before + 11, "what Flask answers counts too"


def test_metrics_for_cloudwatch_come_by_themselves(server, until):
    server.ask("POST", "/invocations", ROW, CSV)
    line = until(lambda: next((entry for entry in lines(server) if "_aws" in entry), None), "a line of metrics")
    assert line["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Twofold/Serving"
    assert line["Requests"] >= 1


@pytest.mark.slow
def test_a_killed_worker_takes_only_its_own_requests_with_it(serving, classifier, until):
    server = serving(classifier.base, SAGEMAKER_MODEL_SERVER_WORKERS="2").ready()
    pid = server.process.pid
    until(lambda: len(children(pid)) == 2, "two workers run")
    stop = time.monotonic() + 4
    answered, failures, pings = [], [], []

    def load(_):
        while time.monotonic() < stop:
            try:
                answered.append(server.ask("POST", "/invocations", ROW, CSV)[0])
            except OSError as error:
                failures.append(error)

    def ping():
        while time.monotonic() < stop:
            with contextlib.suppress(OSError):
                pings.append(server.ask("GET", "/ping")[0])

    with ThreadPoolExecutor(9) as clients:
        done = [clients.submit(load, number) for number in range(8)]
        done.append(clients.submit(ping))
        victim = children(pid)[0]
        until(lambda: len(answered) > 20, "the load runs")
        os.kill(victim, 9)
        until(lambda: len(children(pid)) == 2 and victim not in children(pid), "another takes its place")
        for future in done:
            future.result()
    assert set(pings) == {200}
    assert set(answered) == {200}
    assert len(failures) <= 8, "one for each connection that the dead worker had"
    assert server.stop() == 0


def test_ping_names_the_reason_while_stopping(serving, classifier, until):
    server = serving(classifier.base, SAGEMAKER_MODEL_SERVER_WORKERS="1").ready()
    half = server.half(ROW)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        server.process.send_signal(15)
        until(server.refuses, "no new connection is accepted")
        client.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = client.recv(1000)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"stopping" in answer
    half.sendall(ROW[-1:])
    assert half.recv(1000).startswith(b"HTTP/1.1 200")
    half.close()
    assert server.process.wait(30) == 0
    assert "/ping answers 503 from now on" in server.log
