"""Hangs by arithmetic: clocks and heartbeats of our own making."""

import pytest
from twofold.train.heartbeat import Beat
from twofold.train.watchdog import MEDIANS, Watchdog


def beat(time, *, phase="step", median=1.0, count=10):
    return Beat(count, count, 1, phase, time, median)


def looked(watchdog, beats, until, *, start=0.0, frozen=()):
    """Second of the first look, one a second, that finds a hang; None without one."""
    now = start
    while now <= until:
        if watchdog.look(now, beats, frozen) is not None:
            return now
        now += 1.0
    return None


@pytest.mark.parametrize(("median", "second"), [(0.001, 61), (3.0, 61), (3.5, 71), (10.0, 201)])
def test_the_bound_is_a_minute_or_20_medians(median, second):
    assert looked(Watchdog(60.0), {0: beat(0.0, median=median)}, 400) == second
    assert MEDIANS == 20


def test_one_rank_that_moves_is_enough():
    watchdog = Watchdog(60.0)
    for now in range(300):
        assert watchdog.look(now, {0: beat(0.0), 1: beat(float(now), count=now)}) is None
    assert looked(watchdog, {0: beat(0.0), 1: beat(299.0)}, 500, start=300.0) == 360


@pytest.mark.parametrize("phase", ["start", "save", "end"])
def test_phases_without_steps_are_unbounded(phase):
    assert looked(Watchdog(60.0), {0: beat(0.0, phase=phase, median=None)}, 5000) is None
    # A peer of a rank that saves waits for it, in a step.
    assert looked(Watchdog(60.0), {0: beat(0.0, phase=phase, median=None), 1: beat(0.0)}, 5000) is None
    assert looked(Watchdog(60.0), {0: beat(0.0, phase=phase, median=None)}, 5000, frozen=[0]) == 61


def test_before_there_is_a_median_nothing_is_a_hang():
    assert looked(Watchdog(60.0), {0: beat(0.0, median=None)}, 5000) is None
    assert looked(Watchdog(60.0), {}, 5000) is None


def test_an_evaluation_has_a_median_of_its_own():
    assert looked(Watchdog(60.0), {0: beat(0.0, phase="evaluate", median=30.0)}, 1000) == 601


def test_a_machine_that_was_asleep_does_not_find_its_ranks_hung():
    watchdog = Watchdog(60.0)
    assert looked(watchdog, {0: beat(0.0)}, 30) is None
    assert watchdog.look(3600.0, {0: beat(0.0)}) is None
    assert looked(watchdog, {0: beat(0.0)}, 4000, start=3601.0) == 3661


def test_patience_lasts_until_the_next_step():
    watchdog = Watchdog(60.0)
    watchdog.look(0.0, {0: beat(0.0)})
    watchdog.grant(100.0)
    assert looked(watchdog, {0: beat(0.0)}, 500) == 161
    assert looked(watchdog, {0: beat(500.0, count=11)}, 1000, start=501.0) == 562
