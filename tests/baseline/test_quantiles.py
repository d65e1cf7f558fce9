"""Sketches against the truth, merged and read back."""

import numpy as np
import pytest
from twofold.baseline.quantiles import Distribution, Quantiles


def filled(values):
    sketch = Quantiles()
    sketch.add(np.asarray(values, dtype=np.float64))
    return sketch


def test_merged_sketches_know_ranks_within_their_error():
    """Merged ones are those whose weights the library forgets."""
    values = np.random.default_rng(1).gamma(2.0, size=200_000).astype(np.float32).astype(np.float64)
    whole = Quantiles()
    for part in np.array_split(values, 7):
        whole.merge(filled(part))
    found = whole.distribution()
    ordered = np.sort(values)
    truth = np.arange(1, len(ordered) + 1) / len(ordered)
    assert whole.count == found.count == len(values)
    assert 0 < found.rank_error < 0.002
    assert np.abs(found.at(ordered) - truth).max() < 3 * found.rank_error
    assert sum(len(level) << place for place, level in enumerate(whole.levels())) == len(values)


@pytest.mark.parametrize("values", [[], [1.5], [1, 2], [1, 1, 1], list(range(100))])
def test_few_values_are_kept_as_they_are(values):
    sketch = filled(values)
    again = Quantiles(sketch.to_bytes())
    assert sorted(value for level in again.levels() for value in level) == sorted(values)
    assert again.count == len(values)


def test_values_are_those_that_training_has():
    """0.1 of a request and the float32 0.1 of training data are one value."""
    request, training = filled([0.1]).distribution(), filled([float(np.float32(0.1))]).distribution()
    assert request.values.tolist() == training.values.tolist()


def test_a_staircase():
    found = Distribution.of(np.array([3.0, 1.0, 1.0]), np.array([2.0, 1.0, 1.0]), count=4)
    assert found.at(np.array([0.0, 1.0, 2.0, 3.0, 9.0])).tolist() == [0, 0.5, 0.5, 1, 1]
    assert (found.quantile(0.5), found.quantile(0.6), found.quantile(1)) == (1, 3, 3)
    assert found.buckets(2) == [(1, 2, 0.5), (2, 3, 0.5)]


def test_one_value_only_has_buckets():
    assert sum(share for _, _, share in filled([2.0, 2.0]).distribution().buckets(10)) == 1


def test_buckets_of_a_file_without_a_sketch():
    found = Distribution.of_buckets([(0, 1, 30), (1, 2, 0), (2, 3, 10)])
    assert found.count == 40
    assert found.at(np.array([1.5]))[0] == pytest.approx(0.75)
