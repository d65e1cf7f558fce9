"""`/ping` while every slot of a user's model is busy, and while the model is stuck."""

import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

SCRIPT = """
import time

def model_fn(model_dir):
    return None

def predict_fn(data, model):
    time.sleep(float(data[0]))
    return data

"""


@pytest.fixture
def base(tmp_path):
    code = tmp_path / "model" / "code"
    code.mkdir(parents=True)
    (code / "inference.py").write_text(SCRIPT)
    return tmp_path


def sleep(server, seconds):
    return server.ask("POST", "/invocations", json.dumps([seconds]), {"Content-Type": "application/json"})


@pytest.mark.slow
def test_ping_answers_while_all_slots_are_busy(serving, base):
    server = serving(base, SAGEMAKER_MODEL_SERVER_WORKERS="1", TWOFOLD_HANDLER_THREADS="64").ready()
    with ThreadPoolExecutor(80) as clients:
        busy = [clients.submit(sleep, server, 3.0) for _ in range(80)]
        times = []
        while not all(future.done() for future in busy):
            start = time.monotonic()
            assert server.ask("GET", "/ping")[0] == 200
            times.append(time.monotonic() - start)
        assert {future.result()[0] for future in busy} == {200}
    assert statistics.median(times) < 2, "the platform gives up after 2 s"


@pytest.mark.slow
def test_ping_is_503_while_a_model_is_stuck_and_200_after(serving, base, until):
    server = serving(base, SAGEMAKER_MODEL_SERVER_WORKERS="2", SAGEMAKER_MODEL_SERVER_TIMEOUT="1").ready()
    with ThreadPoolExecutor(1) as clients:
        stuck = clients.submit(sleep, server, 8.0)
        until(lambda: server.ask("GET", "/ping")[0] == 503, "it is told")
        stuck.result()
        until(lambda: server.ask("GET", "/ping")[0] == 200, "it is over")
    assert "/ping answers 503 from now on: stuck" in server.log
    assert "/ping answers 200 from now on" in server.log
