import subprocess
import sys
import threading
from itertools import chain, islice

import numpy as np
import pytest
import torch
from twofold.errors import ConfigError, DataError
from twofold.formats.layout import Layout
from twofold.stream import loader as loader_module
from twofold.stream import shards
from twofold.stream.catalog import open_dataset
from twofold.stream.loader import StreamingLoader
from twofold.stream.plan import Plan

SHARDS = [(0, 100), (100, 101), (101, 640), (640, 1000)]


@pytest.fixture
def folder(tmp_path, write_recordio):
    for number, (first, last) in enumerate(SHARDS):
        write_recordio(tmp_path / "data" / f"part-{number}.rec", first, last)
    return tmp_path / "data"


@pytest.fixture
def dataset(folder, host):
    return open_dataset(folder, channel="train", host=host)


def global_batches(dataset, world, epochs=1, **settings):
    """Sample numbers of each global batch, the ranks' parts one behind the other."""
    loaders = [StreamingLoader(dataset, 64, rank=rank, world=world, **settings) for rank in range(world)]
    found = []
    for _ in range(epochs):
        parts = [[batch["label"].tolist() for batch in loader] for loader in loaders]
        found += [sum(step, []) for step in zip(*parts, strict=True)]
    return found


def test_samples_are_what_was_written(dataset, rows):
    """In the second epoch too, when all have been checked and only their places are worked out."""
    labels, features = rows
    loader = StreamingLoader(dataset, 64, seed=3)
    for batch in chain(loader, loader):
        numbers = batch["label"].long().numpy()
        assert np.array_equal(labels[numbers], batch["label"].numpy())
        assert np.array_equal(features[numbers], batch["features"].numpy())


@pytest.mark.parametrize("world", [2, 3, 8, 64])
def test_any_number_of_ranks_sees_the_same_global_batches(dataset, world):
    assert global_batches(dataset, world, epochs=2) == global_batches(dataset, 1, epochs=2)


def test_every_sample_once_an_epoch_and_another_order_in_the_next(dataset):
    batches = global_batches(dataset, 1, epochs=2)
    first, second = sum(batches[:16], []), sum(batches[16:], [])
    assert sorted(first) == sorted(second) == list(range(1000))
    assert first != second


def test_stopping_on_some_ranks_and_going_on_with_others_loses_nothing(dataset):
    """1 -> 2 -> 8 -> 3 ranks, stopped in mid-epoch each time."""
    expected = global_batches(dataset, 1, epochs=2)
    state, found = StreamingLoader(dataset, 64).state_dict(), []
    for world, steps in ((1, 5), (2, 4), (8, 12), (3, 11)):
        loaders = [StreamingLoader(dataset, 64, rank=rank, world=world) for rank in range(world)]
        parts = []
        for loader in loaders:
            loader.load_state_dict(state)
            parts.append([batch["label"].tolist() for batch in take(loader, steps)])
        states = [loader.state_dict() for loader in loaders]
        assert all(one == states[0] for one in states)
        state = states[0]
        found += [sum(step, []) for step in zip(*parts, strict=True)]
    assert found == expected


def take(loader, steps):
    """Batches of as many epochs as it takes."""
    while steps:
        batches = list(islice(iter(loader), steps))
        yield from batches
        steps -= len(batches)


def test_state_counts_what_was_handed_out_and_not_what_was_read_ahead(dataset):
    loader = StreamingLoader(dataset, 64)
    batches = iter(loader)
    for _ in range(3):
        next(batches)
    assert (loader.state_dict()["epoch"], loader.state_dict()["step"]) == (0, 3)


def test_last_batch_is_short_or_dropped(dataset):
    assert [len(batch) for batch in global_batches(dataset, 1)] == [64] * 15 + [40]
    loader = StreamingLoader(dataset, 64, drop_last=True)
    assert len(loader) == 15
    assert [len(batch["label"]) for batch in loader] == [64] * 15


def test_without_shuffling_slots_walk_their_spans(dataset):
    batches = global_batches(dataset, 1, shuffle=False)
    spans = [slot * 1000 // 64 for slot in range(64)]
    assert batches[0] == spans
    assert batches[1] == [start + 1 for start in spans]


def test_transform_is_applied(dataset):
    loader = StreamingLoader(dataset, 64, transform=lambda batch: {"twice": batch["label"] * 2})
    assert torch.equal(next(iter(loader))["twice"] % 2, torch.zeros(64))


def test_no_thread_outlives_an_iterator_that_is_dropped(dataset):
    batches = iter(StreamingLoader(dataset, 64))
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("twofold-stream")]


@pytest.mark.parametrize("wrong", [{"rank": 2, "world": 2}, {"rank": -1}, {"world": 65}])
def test_impossible_ranks_are_refused(dataset, wrong):
    with pytest.raises(ConfigError, match="batch_size"):
        StreamingLoader(dataset, 64, **wrong)


def test_state_of_another_order_is_refused(dataset):
    state = StreamingLoader(dataset, 64).state_dict()
    with pytest.raises(ConfigError, match="batch_size=64, now it is 32"):
        StreamingLoader(dataset, 32).load_state_dict(state)


def test_broken_record_stops_with_its_place(folder, host):
    path = folder / "part-2.rec"
    data = bytearray(path.read_bytes())
    stride = len(data) // 539
    data[300 * stride + 1] ^= 0x40
    path.write_bytes(data)
    dataset = open_dataset(folder, channel="train", host=host)
    with pytest.raises(DataError, match=rf"Channel 'train', file part-2.rec: .*record 300.*{300 * stride}"):
        list(StreamingLoader(dataset, 64))


def test_broken_record_is_skipped_and_counted(folder, host):
    path = folder / "part-2.rec"
    data = bytearray(path.read_bytes())
    stride = len(data) // 539
    data[300 * stride + 1] ^= 0x40
    path.write_bytes(data)
    dataset = open_dataset(folder, channel="train", host=host, on_bad_record="skip")
    found = sum((batch["label"].tolist() for batch in StreamingLoader(dataset, 64)), [])
    assert sorted(found) == [number for number in range(1000) if number != 401]
    assert dataset.bad.skipped == 1
    assert "record 300" in dataset.bad.first


def test_two_blocks_are_read_side_by_side(dataset, monkeypatch):
    """Each read waits for another to begin, but for the last one of an odd number."""
    monkeypatch.setattr(loader_module, "BLOCK_BYTES", 1)
    together, read = threading.Barrier(2), dataset.read

    def meet(ids):
        together.wait(timeout=60)
        return read(ids)

    monkeypatch.setattr(dataset, "read", meet)
    found = sum((batch["label"].tolist() for batch in StreamingLoader(dataset, 64)), [])
    assert sorted(found) == list(range(1000))


def test_many_small_blocks_are_planned_at_once(dataset, monkeypatch):
    monkeypatch.setattr(loader_module, "BLOCK_BYTES", 1)
    expected, planned, block = global_batches(dataset, 1), [], Plan.block

    def note(plan, first, last, slots):
        planned.append((first, last))
        return block(plan, first, last, slots)

    monkeypatch.setattr(Plan, "block", note)
    monkeypatch.setattr(loader_module, "_PLANNED", 5 * 64)
    assert global_batches(dataset, 1) == expected
    assert [steps for steps in planned if steps != (0, 0)] == [(0, 5), (5, 10), (10, 15), (15, 16)]


def test_transforms_run_one_after_the_other_in_order(dataset, monkeypatch):
    monkeypatch.setattr(loader_module, "BLOCK_BYTES", 1)
    seen, busy = [], threading.Lock()

    def note(batch):
        assert busy.acquire(blocking=False)
        seen.append(batch["label"].tolist())
        busy.release()
        return batch

    assert [batch["label"].tolist() for batch in StreamingLoader(dataset, 64, transform=note)] == seen


def test_neighbours_are_checked_at_once_and_nothing_twice(folder, host, monkeypatch):
    monkeypatch.setattr(shards, "_CHECKED_BYTES", (1, 1))
    dataset = open_dataset(folder, channel="train", host=host)
    checked, verify = [], Layout.verify

    def note(layout, buffer, first, last, **options):
        checked.append(last - first)
        verify(layout, buffer, first, last, **options)

    monkeypatch.setattr(Layout, "verify", note)
    dataset.read(np.arange(1000))
    assert sum(checked) == 1000
    assert len(checked) == len(SHARDS)
    dataset.read(np.arange(1000))
    assert sum(checked) == 1000


def test_memory_of_blocks_is_used_again(tmp_path):
    """In a process of its own: what else is in memory decides what the C library gives back."""
    code = (
        "import resource, sys, numpy as np; from twofold.stream.loader import StreamingLoader\n"
        "np.save(sys.argv[1] + '/rows.npy', np.zeros((20_000, 768), np.float32))\n"
        "loader = StreamingLoader(sys.argv[1], 256)\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(3): [None for batch in loader]\n"
        "before = faults()\n"
        "for _ in range(3): [None for batch in loader]\n"
        "print(faults() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    pages = 3 * 20_000 * 768 * 4 // 4096
    assert int(done.stdout) < pages / 4
