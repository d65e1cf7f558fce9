from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twofold.stream.plan import Plan, locate, rank_slots

SHARDS = st.lists(st.integers(0, 40), min_size=1, max_size=8).map(tuple)
PLANS = st.builds(
    Plan,
    shard_sizes=SHARDS,
    batch_size=st.integers(1, 24),
    seed=st.integers(0, 2**63 - 1),
    epoch=st.integers(0, 1000),
    window=st.integers(1, 20),
    shuffle=st.booleans(),
)


def ids(plan, world=1, steps=None):
    """Sample ids of each global batch, the ranks' parts one behind the other."""
    ranks = [rank_slots(plan.batch_size, rank, world) for rank in range(world)]
    return [
        np.concatenate([plan.batch(step, slots) for slots in ranks]).tolist()
        for step in (range(plan.steps) if steps is None else steps)
    ]


@given(plan=PLANS)
def test_an_epoch_has_every_sample_exactly_once(plan):
    assert sorted(chain(*ids(plan))) == list(range(plan.samples))


@given(plan=PLANS, data=st.data())
def test_any_number_of_ranks_sees_the_same_global_batches(plan, data):
    world = data.draw(st.integers(1, plan.batch_size))
    assert ids(plan, world) == ids(plan)


@given(plan=PLANS, data=st.data())
def test_a_part_of_a_block_is_the_block_of_its_steps(plan, data):
    first, last = sorted(data.draw(st.tuples(st.integers(0, plan.steps), st.integers(0, plan.steps))))
    slots = range(plan.batch_size)
    part, alone = plan.block(0, plan.steps, slots).part(first, last), plan.block(first, last, slots)
    assert part.sample_ids.tolist() == alone.sample_ids.tolist()
    assert part.counts.tolist() == alone.counts.tolist()


@given(plan=PLANS, data=st.data())
def test_a_step_does_not_depend_on_the_steps_before_it(plan, data):
    order = data.draw(st.permutations(range(plan.steps)))
    batches = ids(plan)
    assert ids(plan, steps=order) == [batches[step] for step in order]


@given(plan=PLANS, data=st.data())
def test_a_block_is_its_batches_one_behind_the_other(plan, data):
    first = data.draw(st.integers(0, plan.steps))
    last = data.draw(st.integers(first, plan.steps))
    world = data.draw(st.integers(1, plan.batch_size))
    slots = rank_slots(plan.batch_size, data.draw(st.integers(0, world - 1)), world)
    block = plan.block(first, last, slots)
    batches = [plan.batch(step, slots).tolist() for step in range(first, last)]
    assert block.sample_ids.tolist() == list(chain(*batches))
    assert block.counts.tolist() == [len(batch) for batch in batches]


def test_neighbours_in_the_data_part():
    """Mean distance of samples that follow each other in a slot is that of a random order, a third of the window."""
    plan = Plan(shard_sizes=(64 * 256,), batch_size=1, seed=0, epoch=0, window=256)
    order = plan.block(0, plan.steps, range(1)).sample_ids.reshape(64, 256)
    distance = np.abs(np.diff(order, axis=1))
    around_the_ring = np.minimum(distance, plan.samples - distance).mean()
    assert 256 / 3 * 0.95 < around_the_ring < 256 / 3 * 1.05


@given(plan=PLANS)
def test_all_batches_but_the_last_are_full_and_the_count_says_so(plan):
    sizes = [len(batch) for batch in ids(plan)]
    assert sizes == [plan.count(step) for step in range(plan.steps)]
    assert all(size == plan.batch_size for size in sizes[:-1])


@given(plan=PLANS, data=st.data())
def test_shares_of_ranks_differ_by_one_slot_at_most_and_are_neighbours(plan, data):
    world = data.draw(st.integers(1, plan.batch_size))
    shares = [rank_slots(plan.batch_size, rank, world) for rank in range(world)]
    assert [slot for share in shares for slot in share] == list(range(plan.batch_size))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert min(map(len, shares)) >= 1


@given(sizes=SHARDS, batch_size=st.integers(1, 9))
def test_without_shuffling_each_slot_walks_its_span_in_the_order_given(sizes, batch_size):
    plan = Plan(shard_sizes=sizes, batch_size=batch_size, seed=3, epoch=1, shuffle=False)
    starts, ends = plan.spans(range(batch_size))
    expected = [[s + g for s, e in zip(starts, ends, strict=True) if s + g < e] for g in range(plan.steps)]
    assert ids(plan) == expected


@given(plan=PLANS.filter(lambda plan: plan.shuffle))
def test_shuffling_moves_a_sample_at_most_one_window(plan):
    """Walking a window takes only samples of that window: what bounds the memory of readers."""
    unshuffled = Plan(
        shard_sizes=plan.shard_sizes, batch_size=plan.batch_size, seed=plan.seed, epoch=plan.epoch, window=1
    )
    for slot in range(plan.batch_size):
        walked, straight = (
            [int(p.batch(step, range(slot, slot + 1))[0]) for step in range(steps_of(p, slot))]
            for p in (plan, unshuffled)
        )
        for first in range(0, len(walked), plan.window):
            block = slice(first, first + plan.window)
            assert sorted(walked[block]) == sorted(straight[block])


def steps_of(plan, slot):
    start, end = plan.spans(range(slot, slot + 1))
    return int((end - start)[0])


def test_seeds_and_epochs_give_other_orders():
    orders = {
        tuple(chain(*ids(Plan(shard_sizes=(30, 20, 50), batch_size=10, seed=seed, epoch=epoch))))
        for seed in range(5)
        for epoch in range(5)
    }
    assert len(orders) == 25


def test_every_sample_comes_to_every_step_sooner_or_later():
    """A sample that always came at the same time of an epoch would not be shuffled."""
    steps = {
        next(g for g, batch in enumerate(ids(Plan(shard_sizes=(40,), batch_size=8, seed=0, epoch=epoch))) if 7 in batch)
        for epoch in range(60)
    }
    assert steps == set(range(5))


def test_shards_change_places_between_epochs():
    firsts = {
        int(Plan(shard_sizes=(10,) * 6, batch_size=1, seed=0, epoch=epoch, window=1).batch(0, range(1))[0]) // 10
        for epoch in range(60)
    }
    assert firsts == set(range(6))


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"window": 0}, {"shard_sizes": (1, -1)}])
def test_sizes_without_a_plan_are_refused(wrong):
    with pytest.raises(ValueError, match="at least"):
        Plan(**{"shard_sizes": (1,), "batch_size": 1, "seed": 0, "epoch": 0, **wrong})


def test_an_epoch_without_samples_has_no_steps():
    plan = Plan(shard_sizes=(0, 0), batch_size=4, seed=0, epoch=0)
    assert plan.steps == 0
    assert len(plan.batch(0, range(4))) == 0


@given(sizes=SHARDS)
def test_a_sample_id_counts_through_the_shards(sizes):
    shard, row = locate(sizes, np.arange(sum(sizes)))
    expected = [(number, index) for number, size in enumerate(sizes) for index in range(size)]
    assert list(zip(shard.tolist(), row.tolist(), strict=True)) == expected
