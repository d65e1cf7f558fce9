import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from twofold.errors import Overloaded
from twofold.serve.batcher import Batcher, Job, QueueLimits
from twofold.serve.pace import Pace
from twofold.serve.queued import QueuedModel
from twofold.serve.runner import Runner

LIMITS = QueueLimits(requests=100, size=1 << 20, seconds=60)


class Loop:
    """The thread of the loop, as far as posts go."""

    def __init__(self):
        self.posts = queue.SimpleQueue()
        self.runner = None
        threading.Thread(target=self._run, daemon=True).start()

    def post(self, call):
        self.posts.put(call)

    def _run(self):
        while True:
            self.posts.get()()
            while self.runner and self.runner.pending:
                self.runner.turn()


class Model:
    manifest, row_shape = None, (2,)

    def __init__(self):
        self.go = threading.Event()
        self.go.set()
        self.threads = set()

    def predict(self, rows):
        self.threads.add(threading.current_thread().name)
        self.go.wait(30)
        return rows * 2

    def check(self, rows):
        pass

    def labels(self, predictions):
        return None


@pytest.mark.parametrize("inline", [True, False])
def test_threads_get_their_own_answers(inline):
    model, loop = Model(), Loop()
    runner = Runner(Batcher(model, Pace(inline, 8, 1e-6), LIMITS), loop, inline=inline)
    loop.runner = runner
    queued = QueuedModel(model)
    queued.attach(runner)
    rows = [np.full((1 + value % 20, 2), value, np.float32) for value in range(60)]
    with ThreadPoolExecutor(8) as clients:
        for sent, answer in zip(rows, clients.map(queued.predict, rows), strict=True):
            np.testing.assert_array_equal(answer, sent * 2)
    assert model.threads == ({"model"} if not inline else model.threads - {"model"})


def test_without_a_worker_a_model_answers_by_itself():
    assert QueuedModel(Model()).predict(np.ones((1, 2)))[0, 0] == 2


def test_a_refusal_is_raised_in_the_thread_that_asked():
    limits = QueueLimits(requests=1, size=1, seconds=60)
    runner = Runner(Batcher(Model(), Pace(False, 8, 1e-6), limits), Loop(), inline=False)
    with pytest.raises(Overloaded):
        runner.predict(np.ones((1, 2), np.float32))


def test_a_job_that_is_given_up_is_finished_once(until):
    model, loop = Model(), Loop()
    runner = Runner(Batcher(model, Pace(False, 8, 1e-6), LIMITS), loop, inline=False)
    model.go.clear()
    finished = []
    job = Job(np.ones((1, 2), np.float32), time.monotonic(), finished.append, lambda: False)
    loop.post(lambda: runner.offer(job))
    until(lambda: runner.batcher.current, "the model has it")
    loop.post(lambda: runner.tick(time.monotonic() + 100))
    until(lambda: finished, "it is given up")
    model.go.set()
    until(lambda: not runner.batcher.current, "the model is done")
    done = threading.Event()
    loop.post(done.set)
    assert done.wait(30)
    assert len(finished) == 1
