import json
import logging

import pytest
import torch
from twofold.train.metrics import Meter, append_history, publish, start_history
from twofold.train.parallel import Sums
from twofold.train.ranks import Ranks
from twofold.train.tasks import Classification


def test_a_mean_is_over_samples_not_batches():
    meter = Meter(Ranks())
    meter.add(Sums(torch.tensor(6.0), torch.tensor(3.0), 3))
    meter.add(Sums(torch.tensor(2.0), torch.tensor(0.0), 1))
    assert meter.total(Classification((0, 1))) == {"loss": 2.0, "accuracy": 0.75}
    assert meter.seen() == 4


def test_an_earlier_part_of_the_epoch_counts_but_was_not_seen_now():
    meter = Meter(Ranks(), [6.0, 3.0, 3.0])
    meter.add(Sums(torch.tensor(2.0), torch.tensor(0.0), 1))
    assert meter.total(Classification((0, 1))) == {"loss": 2.0, "accuracy": 0.75}
    assert meter.all_ranks() == [8.0, 3.0, 4.0]
    assert meter.seen() == 1


def test_history_goes_on_after_the_step_resumed_from(tmp_path):
    folder = tmp_path / "data"
    start_history(folder, 0)
    for epoch in (1, 2, 3):
        append_history(folder, {"train:loss": 1 / epoch}, epoch=epoch, step=epoch * 4, seconds=0.12345)
    start_history(folder, 9)
    append_history(folder, {"train:loss": 0.25}, epoch=3, step=12, seconds=1)
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2, 3]
    assert records[0] == {"epoch": 1, "step": 4, "seconds": 0.123, "train:loss": 1.0}
    assert records[2]["train:loss"] == 0.25


def test_a_line_holds_all_metrics(caplog):
    caplog.set_level(logging.INFO)
    publish({"train:loss": 0.5, "validation:accuracy": 1.0}, epoch=2, step=8, samples_per_s=1234.6)
    assert caplog.messages == ["epoch=2 step=8 train:loss=0.5 validation:accuracy=1 samples_per_second=1235"]


@pytest.mark.parametrize("step", [0, 5])
def test_no_history_yet_is_fine(tmp_path, step):
    start_history(tmp_path, step)
    assert list(tmp_path.iterdir()) == []
