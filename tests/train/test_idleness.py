"""Idleness by arithmetic: clocks and counts of our own making, a look a second, windows of ten."""

import pytest
from twofold.train.activity import Work
from twofold.train.idleness import Idleness


def idle_after(seconds, work, *, traffic=lambda now: 0, heard=lambda now: 0.0):
    """Idle seconds that the look in this second finds; all are functions of the second."""
    idleness = Idleness(10.0)
    return [idleness.look(float(now), heard(now), work(now), traffic(now)) for now in range(seconds + 1)][-1]


def nothing(_now):
    return {0: Work(5.0, 5_000), 1: Work(7.0, 10)}


def test_nothing_is_idle_from_the_start():
    assert idle_after(1800, nothing) == 1800


@pytest.mark.parametrize(
    ("cpu", "read", "idle"),
    [
        (0.02, 0, False),
        (0.005, 0, True),
        (0.0, 150_000, False),
        (0.0, 20_000, True),
    ],
)
def test_work_of_one_rank_is_enough_and_signs_of_life_are_none(cpu, read, idle):
    found = idle_after(600, lambda now: {0: Work(5.0), 1: Work(cpu * now, read * now)})
    assert found >= 600 if idle else found <= 10


@pytest.mark.parametrize(("rate", "idle"), [(5_000, False), (300, True)])
def test_what_is_on_its_way_is_waited_for(rate, idle):
    assert idle_after(600, nothing, traffic=lambda now: rate * now) >= (600 if idle else 0)
    assert (idle_after(600, nothing, traffic=lambda now: rate * now) <= 10) is not idle


def test_a_line_of_output_is_life():
    assert idle_after(600, nothing, heard=lambda now: 400.0 if now >= 400 else 0.0) == 200


def test_a_burst_counts_until_the_end_of_its_window():
    found = idle_after(100, lambda now: {0: Work(0.0 if now < 45 else 3.0)})
    assert found == 50


def test_a_starved_process_that_wants_a_core_is_not_idle():
    assert idle_after(600, lambda now: {0: Work(wants=now == 590)}) == 10


def test_children_that_take_their_counts_along_are_no_work():
    assert idle_after(600, lambda now: {0: Work(9.0 - now / 100, 10_000_000 - now)}) == 600


def test_a_rank_that_comes_late_begins_with_work():
    assert idle_after(100, lambda now: {0: Work()} | ({1: Work(2.0)} if now > 45 else {})) == 50


def test_it_can_begin_anew():
    idleness = Idleness(10.0)
    idleness.look(0.0, 0.0, nothing(0), 0)
    assert idleness.look(100.0, 0.0, nothing(0), 0) == 100
    idleness.forget()
    assert idleness.look(5000.0, 0.0, nothing(0), 0) == 0
    assert idleness.look(5001.0, 0.0, nothing(0), 0) == 1
