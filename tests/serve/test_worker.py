import math
import signal
import socket
from queue import SimpleQueue
from types import SimpleNamespace

import pytest
from gunicorn.workers.gthread import ThreadWorker
from twofold.serve.worker import Worker, after_fork


@pytest.fixture
def worker(monkeypatch):
    """A worker without a process of its own: nothing of gunicorn's start has run."""
    monkeypatch.setattr(ThreadWorker, "init_signals", lambda self: None)
    bare = object.__new__(Worker)
    bare.alive = True
    bare.sockets = []
    bare.pending_conns = []
    bare.nr_conns = 0
    bare.worker_connections = 10
    bare._accepting = False
    return bare


@pytest.mark.parametrize(
    ("signals", "alive"), [([], True), ([signal.SIGCHLD], True), ([signal.SIGCHLD, signal.SIGTERM], False)]
)
def test_a_sigterm_that_the_arbiters_handler_caught_is_heeded(worker, signals, alive):
    queue = SimpleQueue()
    for number in signals:
        queue.put(number)
    after_fork(SimpleNamespace(SIG_QUEUE=queue), worker)
    worker.init_signals()
    assert worker.alive is alive


def test_a_stopping_worker_takes_who_waits_and_refuses_the_rest(worker, monkeypatch):
    taken = []

    def accept(listener):
        try:
            taken.append(listener.accept()[0])
            worker.nr_conns += 1
        except BlockingIOError:
            pass

    monkeypatch.setattr(worker, "accept", accept)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        address = listener.getsockname()
        worker.sockets = [listener]
        worker.alive = False
        waiting = [socket.create_connection(address) for _ in range(3)]
        worker.set_accept_enabled(False)
        assert len(taken) == 3
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
    for connection in waiting + taken:
        connection.close()


def test_a_connection_without_a_request_does_not_hold_up_the_end(worker):
    silent = SimpleNamespace(timeout=math.inf)
    worker.pending_conns = [silent]
    worker.alive = False
    worker.set_accept_enabled(False)
    assert silent.timeout < math.inf


def test_a_busy_worker_that_pauses_keeps_its_socket(worker):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        worker.sockets = [listener]
        worker.set_accept_enabled(False)
        assert listener.fileno() != -1
