import time

import numpy as np
import pytest
from twofold.serve.pace import measure


def model(fixed, per_row):
    """Something that takes so many seconds, which a busy machine can only make more."""

    def run(rows):
        end = time.perf_counter() + fixed + per_row * len(rows)
        while time.perf_counter() < end:
            pass
        return np.zeros((len(rows), 1))

    return run


def test_a_slow_model_runs_in_a_thread():
    pace = measure(model(0.02, 0.001), (3,))
    assert not pace.inline
    assert 1 < pace.rows <= 128


def test_batches_that_bring_nothing_stay_small():
    assert measure(model(0.0, 0.02), (3,)).rows <= 2


def test_a_very_slow_model_is_tried_only_a_few_times():
    start = time.monotonic()
    assert measure(model(0.4, 0.0), (3,)).rows <= 2
    assert time.monotonic() - start < 20


def test_a_batch_that_is_set_is_kept():
    pace = measure(model(0.0, 0.0), (3,), rows=7)
    assert pace.rows == 7
    assert not measure(model(0.0, 0.001), (3,), rows=50).inline, "50 ms would hold up the loop"


@pytest.mark.parametrize("shape", [(3,), (2, 4)])
def test_rows_have_the_shape_of_the_models(shape):
    shapes = set()

    def run(rows):
        shapes.add(rows.shape[1:])
        return rows

    measure(run, shape)
    assert shapes == {shape}
