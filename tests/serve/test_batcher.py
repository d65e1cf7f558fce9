import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twofold.errors import ModelError, Overloaded, TooSlow
from twofold.serve.batcher import Batcher, Job, QueueLimits
from twofold.serve.pace import Pace


class Doubles:
    """A model that doubles; rows that begin with -1 break the whole call."""

    def __init__(self):
        self.sizes = []

    def predict(self, rows):
        self.sizes.append(len(rows))
        if (rows[:, 0] == -1).any():
            raise ZeroDivisionError("-1")
        return rows * 2


def make(rows=8, seconds_per_row=0.0, requests=1000, size=1 << 20, seconds=60.0):
    model = Doubles()
    limits = QueueLimits(requests=requests, size=size, seconds=seconds)
    return model, Batcher(model, Pace(inline=True, rows=rows, seconds_per_row=seconds_per_row), limits)


def job(rows, value=1.0, arrived=None, gone=False):
    data = np.full((rows, 2), value, np.float32)
    return Job(data, time.monotonic() if arrived is None else arrived, lambda job: None, lambda: gone)


def run(batcher):
    """Run all batches; the rows of each job in each of them, and the jobs in the order in which they ended."""
    batches, ended = [], []
    while batcher.waiting:
        batch, over = batcher.take()
        batches.append([(entry, last - first) for entry, first, last in batch])
        ended += over + (batcher.compute(batch) if batch else [])
        batcher.since, batcher.current = 0.0, []
    return batches, ended


def test_a_batch_is_all_that_waits():
    model, batcher = make()
    jobs = [job(1, value) for value in (1, 2, 3)]
    for entry in jobs:
        batcher.offer(entry)
    run(batcher)
    assert model.sizes == [3]
    assert [entry.answer[0, 0] for entry in jobs] == [2, 4, 6]


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), max_size=30), st.integers(1, 16))
def test_every_job_gets_its_own_rows_whatever_the_batches(sizes, bound):
    model, batcher = make(rows=bound)
    jobs = [job(size, value) for value, size in enumerate(sizes)]
    for entry in jobs:
        batcher.offer(entry)
    batches, _ = run(batcher)
    for value, (entry, size) in enumerate(zip(jobs, sizes, strict=True)):
        assert entry.answer.shape == (size, 2)
        assert (entry.answer == 2 * value).all()
    assert all(size <= bound for size in model.sizes)
    assert all(sum(rows for _, rows in batch) == bound for batch in batches[:-1] if bound < 4), "no batch has room left"
    assert not batcher.full


def test_small_requests_overtake_large_ones_that_still_come_on():
    _, batcher = make(rows=8)
    large = [job(80), job(80)]
    for entry in large:
        batcher.offer(entry)
    batcher.take()
    small = [job(1) for _ in range(12)]
    for entry in small:
        batcher.offer(entry)
    batch, _ = batcher.take()
    assert [entry for entry, _, _ in batch[:6]] == small[:6], "but for a quarter of the batch"
    assert [(entry, last - first) for entry, first, last in batch[6:]] == [(large[1], 2)]
    batch, _ = batcher.take()
    assert batch[-1][0] is large[0], "large ones take turns"


def test_an_input_that_fails_fails_alone():
    _, batcher = make()
    jobs = [job(1, value) for value in (1, -1, 3)]
    for entry in jobs:
        batcher.offer(entry)
    _, ended = run(batcher)
    assert set(ended) == set(jobs)
    assert [entry.answer is None for entry in jobs] == [False, True, False]
    assert isinstance(jobs[1].error, ZeroDivisionError)


def test_a_large_job_that_fails_in_a_piece_is_not_computed_on():
    model, batcher = make(rows=8)
    entry = job(80, -1)
    batcher.offer(entry)
    run(batcher)
    assert isinstance(entry.error, ZeroDivisionError)
    assert len(model.sizes) == 1
    assert batcher.waiting == 0


def test_a_row_of_a_job_costs_no_more_in_forty_thousand_pieces_than_in_a_thousand():
    def seconds(rows):
        _, batcher = make(rows=1)
        batcher.offer(job(rows))
        start = time.process_time()
        run(batcher)
        return time.process_time() - start

    assert seconds(40_000) < 4 * 40 * min(seconds(1_000) for _ in range(3))


def test_a_model_with_too_few_answers_is_told():
    model, batcher = make()
    model.predict = lambda rows: rows[:-1]
    entry = job(2)
    batcher.offer(entry)
    run(batcher)
    assert isinstance(entry.error, ModelError)


@pytest.mark.parametrize("limits", [{"requests": 2}, {"size": 40}])
def test_a_full_queue_refuses_and_has_room_again(limits):
    _, batcher = make(rows=1, **limits)
    for _ in range(2):
        batcher.offer(job(2))
    with pytest.raises(Overloaded) as error:
        batcher.offer(job(2))
    assert error.value.retry_after >= 1
    run(batcher)
    batcher.offer(job(2))


def test_what_cannot_be_in_time_is_refused_at_once_and_told_when_to_come_again():
    _, batcher = make(rows=8, seconds_per_row=1.0, seconds=10)
    batcher.offer(job(6))
    with pytest.raises(Overloaded) as error:
        batcher.offer(job(6))
    assert error.value.retry_after == 6
    batcher.offer(job(1))


def test_what_the_model_has_in_hand_counts_too():
    _, batcher = make(rows=8, seconds_per_row=1.0, seconds=10)
    batcher.offer(job(8))
    batcher.take()
    with pytest.raises(Overloaded):
        batcher.offer(job(3))
    batcher.offer(job(1))


def test_who_waited_too_long_or_has_gone_costs_nothing():
    model, batcher = make(seconds=10)
    late, gone, good = job(1), job(1, gone=True), job(1)
    for entry in (late, gone, good):
        batcher.offer(entry)
    late.deadline = time.monotonic() - 1
    _, ended = run(batcher)
    assert model.sizes == [1]
    assert isinstance(late.error, Overloaded)
    assert good.answer is not None
    assert set(ended) == {late, gone, good}


def test_who_is_in_the_models_hands_too_long_is_given_up():
    _, batcher = make(seconds=10)
    entry = job(1)
    batcher.offer(entry)
    batch, _ = batcher.take()
    assert batcher.late(time.monotonic()) == []
    assert batcher.late(time.monotonic() + 11) == [entry]
    assert isinstance(entry.error, TooSlow)
    batcher.compute(batch)
    assert entry.answer is None, "the late answer is thrown away"


def test_it_learns_how_long_a_row_takes():
    _, batcher = make(seconds_per_row=100.0, seconds=math.inf)
    for _ in range(60):
        batcher.offer(job(8))
        run(batcher)
    assert batcher._expected(8) < 80, "and not 800"
    assert len(batcher.batches) == 60
