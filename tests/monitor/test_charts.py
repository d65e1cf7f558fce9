"""What charts show, and that they are drawn at all."""

import numpy as np
from twofold.baseline.quantiles import Distribution
from twofold.monitor import charts
from twofold.monitor.profiles import Profile


def distribution(values):
    return Distribution.of(np.asarray(values, float), np.ones(len(values)), count=len(values))


def test_a_whole_number_is_a_bar_of_its_own():
    edges, before, now = charts.bins(distribution([1, 1, 2, 3]), distribution([3, 3]))
    assert edges == [0.5, 1.5, 2.5, 3.5]
    assert before == [0.5, 0.25, 0.25]
    assert now == [0, 0, 1]


def test_bars_of_many_whole_numbers_hold_as_many_each():
    values = distribution(range(90))
    edges, shares, _ = charts.bins(values, values)
    assert len(set(np.diff(edges))) == 1
    assert max(shares) - min(shares[:-1]) < 1e-9


def test_outliers_do_not_make_the_rest_a_needle():
    values = distribution([*np.random.default_rng(1).normal(size=5000), 1e9])
    edges, shares, _ = charts.bins(values, values)
    assert edges[-1] < 10
    assert sum(shares) > 0.99


def test_everything_is_drawn():
    numbers, one = Profile(distribution(np.linspace(0, 1, 500))), Profile(distribution([2.0, 2.0]))
    texts = Profile(categories={f"a rather long name {place}": place + 1 for place in range(30)})
    for before, now in ((numbers, one), (one, one), (texts, Profile(categories={"new": 3}))):
        assert charts.distributions(before, now).startswith("<svg")
    assert "13 h" in charts.over_time(["2026-11-25T13", "2026-11-25T14"], [0.1, None], 0.1)
    assert "11-25 13 h" in charts.over_time(["2026-11-25T13", "2026-11-26T14"], [0.0, 0.0], None)
    assert charts.over_time(["unknown"], [None], None).startswith("<svg")
