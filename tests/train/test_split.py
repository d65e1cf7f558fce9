import pytest
from hypothesis import given
from hypothesis import strategies as st
from twofold.errors import ConfigError
from twofold.train.split import Split

SIZES = st.lists(st.integers(0, 500), min_size=1, max_size=6).filter(any).map(tuple)


@given(sizes=SIZES, batch_size=st.integers(6, 300))
def test_every_part_with_data_has_a_share_and_the_shares_are_the_batch(sizes, batch_size):
    shares = Split(sizes=sizes).batch_sizes(batch_size)
    assert sum(shares) == batch_size
    assert all((share > 0) == (size > 0) for share, size in zip(shares, sizes, strict=True))


@given(sizes=SIZES, batch_size=st.integers(6, 300))
def test_counts_of_all_steps_are_all_samples_and_no_step_is_empty(sizes, batch_size):
    split = Split(sizes=sizes)
    counts = [split.count(batch_size, step) for step in range(split.steps(batch_size))]
    assert sum(counts) == sum(sizes)
    assert all(counts)
    assert split.count(batch_size, split.steps(batch_size)) == 0


def test_shares_follow_the_sizes():
    assert Split(sizes=(100, 300, 0)).batch_sizes(64) == (16, 48, 0)
    assert Split(sizes=(1, 100_000)).batch_sizes(10) == (1, 9)


def test_one_part_is_the_whole_batch():
    split = Split(sizes=(130,))
    assert (split.batch_sizes(64), split.steps(64)) == ((64,), 3)
    assert [split.count(64, step) for step in range(3)] == [64, 64, 2]


def test_more_parts_than_samples_in_a_batch_are_refused():
    with pytest.raises(ConfigError, match="3 hosts have data"):
        Split(sizes=(1, 1, 1)).batch_sizes(2)
