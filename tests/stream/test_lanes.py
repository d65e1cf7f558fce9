"""Lanes: what is asked for when, and how much of it is held."""

from concurrent.futures import Future
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from twofold.stream.lanes import LANES, Rows, lane_slots, merge, read_in_lanes, stretches
from twofold.stream.plan import Plan
from twofold.stream.remote import Fetched


@pytest.mark.parametrize(
    ("start", "stop", "first", "unit"), [(0, 100, 8, 8), (13, 100, 16, 8), (5, 6, 6, 8), (0, 0, 0, 4)]
)
def test_each_lane_has_all_steps_once_and_nothing_is_needed_before_it_is_asked_for(
    start: int, stop: int, first: int, unit: int
) -> None:
    found = list(stretches(start, stop, first, unit, LANES))
    assert [item.first for item in found] == sorted(item.first for item in found)
    for lane in range(LANES):
        mine = [item for item in found if item.lane == lane]
        assert [step for item in mine for step in range(item.first, item.last)] == list(range(start, stop))
        assert all((item.last - first) % unit == 0 for item in mine if item.last < stop)


def test_long_stretches_of_the_lanes_begin_at_different_steps() -> None:
    found = list(stretches(0, 1000, 10, 10, LANES))
    begins = [{item.first for item in found if item.lane == lane and 100 < item.first < 900} for lane in range(LANES)]
    assert all(not one & other for one, other in pairwise(begins))
    assert {item.last - item.first for item in found if 100 < item.first < 900} == {LANES * 10}


@pytest.mark.parametrize("slots", [range(1), range(2, 4), range(64), range(5, 16)])
def test_lanes_share_the_slots(slots: range) -> None:
    assert [slot for lane in lane_slots(slots) for slot in lane] == list(slots)


def test_what_is_held_is_bounded() -> None:
    """Three units in use and two ahead, and all batches are those of the plan."""
    plan, slots, unit = Plan(shard_sizes=(10_000,), batch_size=30, seed=1, epoch=0, window=8), range(30), 8
    asked, used, most = 0, 0, 0

    def ask(ids: NDArray[np.int64]) -> Future[Fetched]:
        nonlocal asked, most
        asked += len(ids)
        most = max(most, asked - used)
        future: Future[Fetched] = Future()
        future.set_result(Fetched({"label": ids.copy()}, None))
        return future

    cut = stretches(0, plan.steps, unit, unit, LANES)
    step = 0
    for rows in read_in_lanes(plan, slots, cut, ask, ahead=2 * unit * 30, most=3):
        for part in np.split(rows.ids, rows.ends[:-1]):
            assert part.tolist() == plan.batch(step, slots).tolist()
            step += 1
        assert np.asarray(rows.columns["label"]).tolist() == rows.ids.tolist()
        used += len(rows.ids)
    assert step == plan.steps
    assert asked == 10_000
    # Stretches begin and end as a whole: what they hold of steps that are over counts too.
    assert most <= (LANES + 2 + 1) * unit * 30


def test_rows_of_different_kinds_are_merged_in_the_order_of_slots() -> None:
    """A short step, a lane without rows, and values of different lengths."""
    ends = [np.array([1, 3]), np.array([0, 0]), np.array([2, 3])]
    ids = [np.array([0, 3, 4]), np.array([], dtype=np.int64), np.array([1, 2, 5])]
    columns = [{"x": [b"0", b"3", b"4"]}, {}, {"x": [b"1", b"2", b"5"]}]
    found = merge([Rows(*each) for each in zip(ids, ends, columns, strict=True)])
    assert found.ids.tolist() == [0, 1, 2, 3, 4, 5]
    assert found.ends.tolist() == [3, 6]
    assert found.columns == {"x": [b"0", b"1", b"2", b"3", b"4", b"5"]}
