import numpy as np
import pytest
import torch
from twofold.train.stream.loader import Loader
from twofold.train.stream.shards import Shards

ROWS = np.column_stack([np.arange(11) % 3, np.arange(11), np.arange(11) * 10]).astype(np.float32)
SHARDS = Shards("training", (ROWS[:4], ROWS[4:]), ("a.csv", "b.csv"))


def test_a_batch_keeps_label_and_features_of_a_sample_together():
    for batch in Loader(SHARDS, 4, seed=1).epoch(0):
        assert batch.rows.dtype == batch.labels.dtype == torch.float32
        assert torch.equal(batch.labels, batch.rows[:, 0] % 3)
        assert torch.equal(batch.rows[:, 1], batch.rows[:, 0] * 10)


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_ranks_share_each_batch_and_know_its_size(world):
    alone = list(Loader(SHARDS, 4, seed=1).epoch(2))
    for batch, *parts in zip(
        alone, *(Loader(SHARDS, 4, seed=1, rank=rank, world=world).epoch(2) for rank in range(world)), strict=True
    ):
        assert torch.equal(torch.cat([part.rows for part in parts]), batch.rows)
        assert {part.global_count for part in parts} == {len(batch.rows)}
        assert {part.step for part in parts} == {batch.step}


def test_a_rank_can_have_nothing_in_a_short_batch():
    shards = Shards("training", (ROWS[:5],), ("a.csv",))
    sizes = [len(batch.rows) for rank in range(4) for batch in Loader(shards, 4, 0, rank, 4).epoch(0, first_step=1)]
    assert sorted(sizes) == [0, 0, 0, 1]


def test_an_epoch_can_begin_at_any_step():
    loader = Loader(SHARDS, 3, seed=5)
    whole = list(loader.epoch(1))
    for first in range(5):
        late = list(loader.epoch(1, first))
        assert [batch.step for batch in late] == list(range(first, 4))
        assert all(torch.equal(a.rows, b.rows) for a, b in zip(late, whole[first:], strict=True))
