"""A server that runs for real, asked over sockets."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest
from twofold.formats import csv, npy

ROWS = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
IN = {
    "application/json": json.dumps({"instances": ROWS.tolist()}).encode(),
    "text/csv": csv.encode(ROWS),
    "application/jsonlines": "\n".join(json.dumps(row) for row in ROWS.tolist()).encode(),
    "application/x-npy": npy.encode(ROWS),
}
MEGABYTE = 1 << 20


def from_jsonl(body):
    return [json.loads(line)["prediction"] for line in body.splitlines()]


OUT = {
    "application/json": lambda body: json.loads(body)["predictions"],
    "text/csv": lambda body: np.squeeze(csv.decode(body)),
    "application/jsonlines": from_jsonl,
    "application/x-npy": npy.decode,
}


@pytest.fixture(scope="module")
def server(serving, classifier):
    return serving(classifier.base, SAGEMAKER_MAX_PAYLOAD_IN_MB="1").ready()


@pytest.fixture(scope="module")
def numbers(serving, regressor):
    return serving(regressor.base, SAGEMAKER_MODEL_SERVER_WORKERS="1").ready()


@pytest.mark.parametrize("sent", IN)
@pytest.mark.parametrize("accepted", OUT)
def test_every_type_in_and_out_gives_what_pytorch_gives(server, numbers, classifier, regressor, sent, accepted):
    for running, artifact in ((server, classifier), (numbers, regressor)):
        status, headers, body = running.ask(
            "POST", "/invocations", IN[sent], {"Content-Type": sent, "Accept": accepted}
        )
        assert status == 200, body
        assert headers["Content-Type"].partition(";")[0] == accepted
        np.testing.assert_allclose(OUT[accepted](body), artifact.answers(ROWS), atol=1e-6)


def test_the_log_says_what_the_start_took(server):
    assert re.search(r"Start: imports \d+\.\d\d s, load \d+\.\d\d s, warm-up \d+\.\d\d s\n", server.log)


def test_ping_is_empty_and_leaves_no_line_in_the_log(server):
    for method in ("GET", "HEAD", "POST"):
        status, headers, body = server.ask(method, "/ping")
        assert (status, body) == (200, b"")
        assert headers["Content-Length"] == "0"
    assert "ping" not in server.log


def test_a_connection_serves_many_requests_and_survives_refused_ones(server):
    connection = server.connect()
    for _ in range(3):
        for body, expected in ((IN["text/csv"], 200), (b"x", 400), (b"1" * (MEGABYTE + 1), 413)):
            connection.request("POST", "/invocations", body, {"Content-Type": "text/csv"})
            response = connection.getresponse()
            assert response.status == expected
            json.loads(response.read())
    connection.close()


def test_clients_at_once_each_get_their_own_answer(server, classifier):
    rows = np.random.default_rng(2).normal(size=(64, 4)).astype(np.float32)
    expected = classifier.answers(rows)

    def ask(index):
        status, _, body = server.ask(
            "POST", "/invocations", npy.encode(rows[index : index + 1]), {"Content-Type": "application/x-npy"}
        )
        assert status == 200
        return json.loads(body)["predictions"][0]

    with ThreadPoolExecutor(16) as clients:
        np.testing.assert_allclose(list(clients.map(ask, range(64))), expected, atol=1e-6)


def test_ping_answers_while_fifty_requests_are_in_flight(server):
    clients = [server.half(IN["text/csv"]) for _ in range(50)]
    for _ in range(10):
        start = time.monotonic()
        assert server.ask("GET", "/ping")[0] == 200
        assert time.monotonic() - start < 2, "the platform gives up after 2 s"
    for client in clients:
        client.sendall(IN["text/csv"][-1:])
        assert client.recv(20).startswith(b"HTTP/1.1 200")
        client.close()


def test_ping_answers_while_fifty_requests_are_computed(numbers):
    body = npy.encode(np.ones((100_000, 4), dtype=np.float32))
    headers = {"Content-Type": "application/x-npy", "Accept": "application/x-npy"}
    slowest = 0.0
    with ThreadPoolExecutor(50) as clients:
        asked = [clients.submit(numbers.ask, "POST", "/invocations", body, headers) for _ in range(50)]
        while True:
            start = time.monotonic()
            assert numbers.ask("GET", "/ping")[0] == 200
            slowest = max(slowest, time.monotonic() - start)
            if not wait(asked, timeout=0).not_done:
                break
    assert all(answer.result()[0] == 200 for answer in asked)
    assert slowest < 2, "the platform gives up after 2 s"


def chunked(*chunks, end=b"0\r\n\r\n"):
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in chunks) + end


def test_a_chunked_body_is_put_together(server, classifier):
    connection = server.connect()
    body = IN["text/csv"]
    pieces = (body[start : start + 7] for start in range(0, len(body), 7))
    connection.request("POST", "/invocations", pieces, {"Content-Type": "text/csv"}, encode_chunked=True)
    response = connection.getresponse()
    assert response.status == 200
    np.testing.assert_allclose(json.loads(response.read())["predictions"], classifier.answers(ROWS), atol=1e-6)
    connection.close()


@pytest.mark.parametrize("megabytes", [1, 3])
@pytest.mark.parametrize("end", [b"0\r\n\r\n", b""], ids=["whole", "endless"])
def test_a_chunked_body_over_the_limit_is_413(server, megabytes, end):
    if megabytes == 1 and not end:
        end = b"1\r\n1\r\n0\r\n\r\n"
    line = b"1,2,3,4\n"
    chunk = line * (MEGABYTE // len(line))
    answer = server.raw(
        chunked(*[chunk] * megabytes, line, end=end).replace(b"Host: x", b"Host: x\r\nConnection: close")
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413")
    assert json.loads(body)["error"]["code"] == 413
    assert "at most 1048576" in json.loads(body)["error"]["message"]


@pytest.mark.parametrize(
    "broken",
    [b"zz\r\n", b"5\r\nab\r\n0\r\n\r\n", b"-1\r\n\r\n", b"4\r\n1,2,XX", b"ffffffffffffffffff\r\n1"],
)
def test_broken_chunks_are_400_and_do_no_harm(server, broken):
    with_end = server.connect()
    with_end.connect()
    with_end.sock.sendall(chunked(end=broken))
    with_end.sock.shutdown(1)
    answer = with_end.sock.recv(1 << 16)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"Traceback" not in answer
    with_end.close()
    assert server.ask("POST", "/invocations", IN["text/csv"], {"Content-Type": "text/csv"})[0] == 200


def test_a_body_of_25_megabytes_is_taken_and_of_26_refused(numbers):
    headers = {"Content-Type": "text/csv"}
    assert numbers.ask("POST", "/invocations", b"1,2,3,4".ljust(25 * MEGABYTE), headers)[0] == 200
    status, _, body = numbers.ask("POST", "/invocations", b"1,2,3,4".ljust(26 * MEGABYTE), headers)
    assert status == 413
    assert "25 MB" in json.loads(body)["error"]["message"]


def test_errors_are_json_whatever_the_path_or_method(server):
    for method, path, code in (
        ("GET", "/models", 404),
        ("POST", "/v1/chat/completions", 404),
        ("GET", "/invocations", 405),
    ):
        status, headers, body = server.ask(method, path, headers={"X-Amzn-SageMaker-Custom-Attributes": "a=b"})
        assert status == code
        assert headers["Content-Type"] == "application/json"
        assert headers["X-Amzn-SageMaker-Custom-Attributes"] == "a=b"
        assert json.loads(body)["error"]["code"] == code


def test_refused_requests_are_told_in_the_log_in_one_line_each(server, until):
    body = b"1,2,3,line\nbreak"
    server.ask("POST", "/invocations", body, {"Content-Type": "text/csv"})
    until(lambda: "line 1, column 4 is 'line'" in server.log, "the log tells of the refusal")
    assert "Traceback" not in server.log
