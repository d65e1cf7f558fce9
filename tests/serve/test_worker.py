import resource
import signal
from queue import SimpleQueue
from types import SimpleNamespace

import pytest
from gunicorn.workers.base import Worker as BaseWorker
from twofold.serve.board import FREE, STARTING, STATE, Board
from twofold.serve.worker import Worker, _raise_open_files, after_exit, after_fork, before_fork


@pytest.fixture
def worker(monkeypatch):
    """A worker without a process of its own: nothing of gunicorn's start has run."""
    monkeypatch.setattr(BaseWorker, "init_signals", lambda self: None)
    bare = object.__new__(Worker)
    bare.alive = True
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


def test_a_worker_without_its_parent_stops(worker):
    beats = []
    worker.tmp = SimpleNamespace(notify=lambda: beats.append(1))
    worker.ppid = -1
    assert worker.tick() is False
    assert beats


def test_a_worker_has_a_seat_from_before_its_fork_until_it_is_reaped(worker):
    board = Board(2)
    arbiter = SimpleNamespace(app=SimpleNamespace(shared=SimpleNamespace(board=board)))
    board.take_seat()
    before_fork(arbiter, worker)
    assert worker.seat == 1
    assert board.rows[1][STATE] == STARTING
    after_exit(arbiter, worker)
    assert board.rows[1][STATE] == FREE


def test_as_many_files_as_allowed_may_be_open():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, before[1]), before[1]))
    try:
        assert _raise_open_files() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
