"""Large fields are copied by torch: the same bytes as by numpy, from any number of maps."""

import numpy as np
import pytest
from twofold.formats import aialgs, layout
from twofold.stream import wide
from twofold.stream.catalog import open_dataset
from twofold.stream.loader import StreamingLoader

WIDTH = layout.WIDE_BYTES // 4 + 3


def features(number):
    return np.arange(number, number + WIDTH, dtype=np.float32)


@pytest.fixture(params=[1, 5])
def folder(request, tmp_path):
    (tmp_path / "data").mkdir()
    numbers = np.array_split(np.arange(200), request.param)
    for shard, part in enumerate(numbers):
        records = [aialgs.encode({"label": np.float32(n), "features": features(n)}) for n in part.tolist()]
        (tmp_path / "data" / f"{shard}.rec").write_bytes(b"".join(records))
    return tmp_path / "data"


def test_a_loader_copies_large_fields_by_torch_and_they_are_what_was_written(folder, host, monkeypatch):
    moved = []

    def watched(memory, starts, size):
        moved.append(size)
        return wide_move(memory, starts, size)

    wide_move = wide.move
    monkeypatch.setattr(wide, "move", watched)
    dataset = open_dataset(folder, channel="train", host=host)
    seen = []
    for batch in StreamingLoader(dataset, 16, seed=2):
        for label, row in zip(batch["label"].tolist(), batch["features"].numpy(), strict=True):
            np.testing.assert_array_equal(row, features(int(label)))
            seen.append(int(label))
    assert sorted(seen) == list(range(200))
    assert set(moved) == {4 * WIDTH}


def test_any_bytes_of_read_only_memory_are_copied_and_can_be_written_to():
    memory = np.arange(5000, dtype=np.uint64).view(np.uint8)
    memory.flags.writeable = False
    starts = np.array([0, 17, 3, len(memory) - 1500, 17])
    moved = wide.move(memory, starts, 1500)
    np.testing.assert_array_equal(moved, [memory[start : start + 1500] for start in starts])
    moved[:] = 0
    assert memory[8] == 1
