from dataclasses import replace

import numpy as np
import pytest
import torch
from twofold.errors import ConfigError, DataError
from twofold.formats import aialgs
from twofold.stream.catalog import Host, open_dataset
from twofold.train.fields import choose_fields
from twofold.train.ranks import Ranks
from twofold.train.samples import Loader, Reading, open_samples
from twofold.train.split import Split

ROWS = np.column_stack([np.arange(11) % 3, np.arange(11), np.arange(11) * 10]).astype(np.float32)


@pytest.fixture
def samples(samples_of):
    return samples_of(ROWS[:4], ROWS[4:])


def of_rank(samples, rank, world):
    """The samples as one rank of many sees them."""
    return replace(samples, split=Split(sizes=(samples.samples,), rank=rank, world=world))


def test_a_batch_keeps_label_and_features_of_a_sample_together(samples):
    for batch in Loader(samples, 4, 1).epoch(0):
        assert batch.rows.dtype == batch.labels.dtype == torch.float32
        assert torch.equal(batch.labels, batch.rows[:, 0] % 3)
        assert torch.equal(batch.rows[:, 1], batch.rows[:, 0] * 10)


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_ranks_share_each_batch_and_know_its_size(samples, world):
    alone = list(Loader(samples, 4, 1).epoch(2))
    for batch, *parts in zip(
        alone, *(Loader(of_rank(samples, rank, world), 4, 1).epoch(2) for rank in range(world)), strict=True
    ):
        assert torch.equal(torch.cat([part.rows for part in parts]), batch.rows)
        assert {part.global_count for part in parts} == {len(batch.rows)}
        assert {part.step for part in parts} == {batch.step}


def test_a_rank_can_have_nothing_in_a_short_batch(samples_of):
    samples = samples_of(ROWS[:5])
    sizes = [
        len(batch.rows) for rank in range(4) for batch in Loader(of_rank(samples, rank, 4), 4, 0).epoch(0, first_step=1)
    ]
    assert sorted(sizes) == [0, 0, 0, 1]


def test_an_epoch_can_begin_at_any_step(samples):
    loader = Loader(samples, 3, 5)
    whole = list(loader.epoch(1))
    for first in range(5):
        late = list(loader.epoch(1, first))
        assert [batch.step for batch in late] == list(range(first, 4))
        assert all(torch.equal(a.rows, b.rows) for a, b in zip(late, whole[first:], strict=True))


def test_rows_come_in_the_order_asked_for(samples):
    wanted = np.array([9, 0, 4, 0, 3])
    assert samples.read(wanted).rows[:, 1].tolist() == wanted.tolist()
    assert samples.read(np.zeros(0, dtype=np.int64)).rows.shape == (0, 3)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_blocks_of_all_ranks_together_are_everything(samples, world):
    rows = [
        [number, *row]
        for rank in range(world)
        for block in of_rank(samples, rank, world).blocks(block_values=6)
        for number, row in zip(block.sample_ids.tolist(), block.rows.tolist(), strict=True)
    ]
    assert sorted(rows) == [[number, *row] for number, row in enumerate(ROWS.tolist())]


def test_blocks_are_bounded_by_values_not_by_rows(samples_of):
    samples = samples_of(np.zeros((10, 100), dtype=np.float32))
    assert max(len(block.rows) for block in samples.blocks(block_values=250)) == 2


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "i2", "u1", "?", "f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_of_any_number_type_and_order(samples_of, dtype, order):
    array = np.asarray([[1, 0, 1], [0, 1, 1]], dtype=dtype, order=order)
    assert samples_of(array).read(np.arange(2)).rows.tolist() == array.astype(float).tolist()


def test_numbers_of_several_types_are_one_column(samples_of):
    samples = samples_of(np.array([[1, 2]], dtype=np.int32), np.array([[0.5, 1.5]]))
    assert samples.read(np.arange(2)).rows.tolist() == [[1, 2], [0.5, 1.5]]


def column(*shape, dtype=np.float32):
    return np.zeros((1, *shape), dtype=dtype)


@pytest.mark.parametrize(
    ("sample", "wanted", "label", "features", "width"),
    [
        ({"data": column(5)}, "", "", ("data",), 4),
        ({"features": column(4), "label": column()}, "", "label", ("features",), 4),
        ({"a": column(), "b": column(), "target": column()}, "", "target", ("a", "b"), 2),
        ({"a": column(), "b": column()}, "", "a", ("b",), 1),
        ({"a": column(), "b": column()}, "b", "b", ("a",), 1),
        ({"text": ["a"], "y": column(), "x": column(2)}, "", "y", ("x",), 2),
        ({"image": column(3, 4, 4, dtype=np.uint8), "label": column(dtype=np.int64)}, "", "label", ("image",), 48),
    ],
)
def test_label_and_features_are_found(sample, wanted, label, features, width):
    found = choose_fields(sample, wanted, "training")
    assert (found.label, found.features, found.width) == (label, features, width)


def test_a_label_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(ConfigError, match=r"label is 'z'; the fields of channel 'training' are: a, b, text. Set"):
        choose_fields({"a": column(), "b": column(), "text": ["x"]}, "z", "training")


@pytest.mark.parametrize("sample", [{"text": ["a"]}, {"label": column()}, {"data": column(1)}, {"data": column()}])
def test_a_channel_without_features_is_refused(sample):
    with pytest.raises(DataError, match=r"Channel 'training' .*Expected a label and at least one field"):
        choose_fields(sample, "", "training")


def test_a_record_of_another_shape_is_named(tmp_path):
    records = [{"label": np.float32(n), "features": np.zeros(2 + (n == 3), np.float32)} for n in range(5)]
    (tmp_path / "a.rec").write_bytes(b"".join(map(aialgs.encode, records)))
    dataset = open_dataset(tmp_path, channel="training", host=Host(tmp_path / ".scratch"))
    samples = open_samples(dataset, Reading(), Ranks(), sharded=False)
    message = r"Channel 'training', file a.rec, record 3: Samples have 3 features and 1 labels. Expected 2 and 1"
    with pytest.raises(DataError, match=message):
        list(samples.blocks())
