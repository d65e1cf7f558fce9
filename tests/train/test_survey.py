import numpy as np
import pytest
from twofold.errors import DataError
from twofold.formats import aialgs
from twofold.stream.catalog import Host, open_dataset
from twofold.train import survey as survey_module
from twofold.train.ranks import Ranks
from twofold.train.samples import Reading, Samples, open_samples
from twofold.train.survey import survey


def rows(labels, features=3, offset=0.0, seed=0):
    values = np.random.default_rng(seed).normal(size=(len(labels), features)) * 10 + offset
    return np.column_stack([labels, values]).astype(np.float32)


@pytest.fixture(params=[1 << 22, 40, 4], ids=["one-block", "ten-rows", "a-row"])
def _block_values(request, monkeypatch):
    monkeypatch.setattr(Samples.blocks, "__defaults__", (request.param,))


@pytest.mark.usefixtures("_block_values")
@pytest.mark.parametrize("offset", [0, 1e4, -1e6])
def test_statistics_are_numpys(samples_of, offset):
    parts = [rows(np.arange(37) % 5, offset=offset), rows(np.arange(3), offset=offset, seed=1)]
    found = survey(samples_of(*parts), Ranks())
    everything = np.concatenate(parts).astype(np.float64)
    assert found.samples == 40
    assert found.mean == pytest.approx(everything.mean(axis=0), rel=1e-9)
    assert found.std == pytest.approx(everything.std(axis=0), rel=1e-6)
    assert found.classes == (0, 1, 2, 3, 4)


def test_a_constant_column_has_deviation_0(samples_of):
    found = survey(samples_of(np.full((1000, 2), 16777217.3, dtype=np.float64)), Ranks())
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
def test_labels_are_classes_if_they_are_whole_and_not_too_large(samples_of, labels, classes):
    assert survey(samples_of(rows(labels)), Ranks()).classes == classes


@pytest.mark.parametrize(
    ("row", "column", "value", "message"),
    [
        (2, 0, np.nan, r"Channel 'training', file 1.npy, record 2: the label \(column 1\) is nan as float32"),
        (0, 2, np.inf, r"file 1.npy, record 0: feature 2 \(column 3\) is inf"),
        (4, 3, 1e300, r"file 1.npy, record 4: feature 3 \(column 4\) is inf as float32. Expected finite numbers"),
    ],
)
def test_a_value_that_is_not_finite_is_named(samples_of, row, column, value, message):
    second = rows(np.arange(5)).astype(np.float64)
    second[row, column] = value
    with pytest.raises(DataError, match=message):
        survey(samples_of(rows(np.arange(5)), second), Ranks())


@pytest.mark.parametrize("block_values", [1 << 22, 8])
def test_records_that_are_skipped_do_not_count_and_are_reported(tmp_path, monkeypatch, caplog, block_values):
    """Nor do those after them move: a message names the record as it stands in the file."""
    monkeypatch.setattr(Samples.blocks, "__defaults__", (block_values,))
    path = tmp_path / "data" / "a.rec"
    path.parent.mkdir()
    values = rows([5, 100, 7, 9, 8], features=2)
    records = [aialgs.encode({"label": row[0], "features": row[1:]}) for row in values]
    records[1] = records[1][:8] + b"\xff" + records[1][9:]
    path.write_bytes(b"".join(records))

    def opened():
        dataset = open_dataset(path.parent, channel="training", host=Host(tmp_path / "scratch"), on_bad_record="skip")
        return open_samples(dataset, Reading(), Ranks(), sharded=False)

    samples = opened()
    found = survey(samples, Ranks())
    assert found.mean == pytest.approx(np.delete(values, 1, axis=0).mean(axis=0), rel=1e-6)
    assert (found.samples, found.classes, samples.dataset.bad.skipped) == (4, (5, 7, 8, 9), 1)
    assert "1 broken records are skipped, the first: Channel 'training', file a.rec: record 1 at byte" in caplog.text
    records[3] = aialgs.encode({"label": np.float32(np.nan), "features": values[3][1:]})
    path.write_bytes(b"".join(records))
    with pytest.raises(DataError, match=r"file a.rec, record 3: the label \(column 1\) is nan"):
        survey(opened(), Ranks())
