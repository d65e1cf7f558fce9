import numpy as np
import pytest
from twofold.errors import DataError
from twofold.train import survey as survey_module
from twofold.train.ranks import Ranks
from twofold.train.stream.shards import Shards
from twofold.train.survey import survey


def shards(*arrays):
    return Shards("training", arrays, tuple(f"{number}.npy" for number in range(len(arrays))))


def rows(labels, features=3, offset=0.0, seed=0):
    values = np.random.default_rng(seed).normal(size=(len(labels), features)) * 10 + offset
    return np.column_stack([labels, values]).astype(np.float32)


@pytest.fixture(params=[1 << 22, 40, 4], ids=["one-block", "ten-rows", "a-row"])
def _block_values(request, monkeypatch):
    monkeypatch.setattr(Shards.blocks, "__defaults__", (0, 1, request.param))


@pytest.mark.usefixtures("_block_values")
@pytest.mark.parametrize("offset", [0, 1e4, -1e6])
def test_statistics_are_numpys(offset):
    parts = [rows(np.arange(37) % 5, offset=offset), rows(np.arange(3), offset=offset, seed=1)]
    found = survey(shards(*parts), Ranks())
    everything = np.concatenate(parts).astype(np.float64)
    assert found.samples == 40
    assert found.mean == pytest.approx(everything.mean(axis=0), rel=1e-9)
    assert found.std == pytest.approx(everything.std(axis=0), rel=1e-6)
    assert found.classes == (0, 1, 2, 3, 4)


def test_a_constant_column_has_deviation_0():
    found = survey(shards(np.full((1000, 2), 16777217.3, dtype=np.float64)), Ranks())
    assert found.std.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([3, 3, 7], (3, 7)),
        ([0, survey_module.MAX_LABEL], (0, survey_module.MAX_LABEL)),
        ([0, survey_module.MAX_LABEL + 1], None),
        ([0, 1.5], None),
        ([-1, 1], None),
    ],
)
def test_labels_are_classes_if_they_are_whole_and_not_too_large(labels, classes):
    assert survey(shards(rows(labels)), Ranks()).classes == classes


@pytest.mark.parametrize(
    ("row", "column", "value", "message"),
    [
        (2, 0, np.nan, r"Channel 'training', file 1.npy, row 2: the label \(column 1\) is nan as float32"),
        (0, 2, np.inf, r"file 1.npy, row 0: feature 2 \(column 3\) is inf"),
        (4, 3, 1e300, r"file 1.npy, row 4: feature 3 \(column 4\) is inf as float32. Expected finite numbers"),
    ],
)
def test_a_value_that_is_not_finite_is_named(row, column, value, message):
    second = rows(np.arange(5)).astype(np.float64)
    second[row, column] = value
    with pytest.raises(DataError, match=message):
        survey(shards(rows(np.arange(5)), second), Ranks())
