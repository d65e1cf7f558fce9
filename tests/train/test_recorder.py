import json
import logging
import re
from types import SimpleNamespace

import pytest
import torch
from twofold.contract.metrics import definitions
from twofold.train import recorder as module
from twofold.train.parallel import Sums
from twofold.train.ranks import Ranks
from twofold.train.recorder import Recorder, gpu_memory

BATCH = SimpleNamespace(global_count=10)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is moved."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def slowly(clock, batches, wait):
    for _ in range(batches):
        clock.seconds += wait
        yield BATCH


def records(folder, name):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def run_epoch(recorder, clock, steps, *, first=1, wait=1.0, work=3.0, loss=2.0):
    for step, _ in enumerate(recorder.epoch(slowly(clock, steps, wait)), first):
        clock.seconds += work
        recorder.step(step, 1, Sums(torch.tensor(loss * 5), torch.tensor(0.0), 5))


def test_an_epoch_is_a_line_a_record_and_an_event(tmp_path, clock, caplog):
    caplog.set_level(logging.INFO)
    recorder = Recorder(Ranks(), tmp_path, tmp_path / "tensorboard")
    recorder.start(0, 40)
    run_epoch(recorder, clock, 4)
    recorder.close_epoch({"train:loss": 0.5}, epoch=1, step=4, seconds=16.0, samples=40)
    recorder.close()
    line = caplog.messages[-1]
    assert line == "epoch=1 step=4 train:loss=0.5 samples_per_second=2.5 data_wait=0.25 seconds_left=144"
    found = {item["Name"]: re.search(item["Regex"], line) for item in definitions("regression")}
    assert {name for name, match in found.items() if match} == {
        *("train:loss", "samples_per_second", "data_wait", "seconds_left")
    }
    assert records(tmp_path, "metrics.jsonl") == [
        {"epoch": 1, "step": 4, "seconds": 16.0, "train:loss": 0.5, "samples_per_second": 2.5, "data_wait": 0.25}
    ]
    assert records(tmp_path, "steps.jsonl")[-1] == {
        "step": 4,
        "running:loss": 2.0,
        "samples_per_second": 2.5,
        "data_wait": 0.25,
    }
    assert list((tmp_path / "tensorboard").iterdir())


def test_a_long_epoch_says_how_it_goes_once_a_minute(tmp_path, clock, caplog):
    caplog.set_level(logging.INFO)
    recorder = Recorder(Ranks(), tmp_path, tmp_path / "tensorboard")
    recorder.start(0, 100_000)
    run_epoch(recorder, clock, 50)
    recorder.close()
    assert len(caplog.messages) == 3
    assert caplog.messages[0].startswith("epoch=1 step=15/100000 running:loss=2 samples_per_second=2.5 data_wait=0.25")
    assert " seconds_left=399940" in caplog.messages[0]


def test_a_long_run_has_two_hundred_records(tmp_path, clock):
    recorder = Recorder(Ranks(), tmp_path, tmp_path / "tensorboard")
    recorder.start(0, 1000)
    run_epoch(recorder, clock, 1000, wait=0.0, work=0.1)
    recorder.close()
    assert [record["step"] for record in records(tmp_path, "steps.jsonl")] == list(range(5, 1001, 5))


def test_a_short_run_has_four_records_a_second(tmp_path, clock):
    recorder = Recorder(Ranks(), tmp_path, tmp_path / "tensorboard")
    recorder.start(0, 1000)
    run_epoch(recorder, clock, 1000, wait=0.0, work=0.001)
    recorder.close()
    assert [record["step"] for record in records(tmp_path, "steps.jsonl")] == pytest.approx([5, 255, 505, 755], abs=5)


def test_a_resumed_run_goes_on(tmp_path, clock, caplog):
    caplog.set_level(logging.INFO)
    (tmp_path / "steps.jsonl").write_text('{"step": 2}\n{"step": 6}\n')
    recorder = Recorder(Ranks(), tmp_path, tmp_path / "tensorboard")
    recorder.start(4, 8)
    run_epoch(recorder, clock, 2, first=5)
    recorder.close_epoch({"train:loss": 0.5}, epoch=2, step=6, seconds=8.0, samples=20)
    recorder.close()
    assert [record["step"] for record in records(tmp_path, "steps.jsonl")] == [2, 5, 6]
    assert caplog.messages[-1].endswith("seconds_left=8"), "two of four steps took 8 s"


def test_a_loss_that_is_no_number_is_left_to_the_end_of_the_epoch(tmp_path, clock):
    recorder = Recorder(Ranks(), tmp_path, tmp_path / "tensorboard")
    recorder.start(0, 4)
    run_epoch(recorder, clock, 30, loss=float("nan"))
    recorder.close()
    assert not (tmp_path / "steps.jsonl").exists()


def test_other_ranks_and_empty_shares_record_nothing(tmp_path, clock, caplog):
    caplog.set_level(logging.INFO)
    other = Recorder(Ranks(rank=1, world=2), tmp_path, tmp_path / "tensorboard")
    other.start(0, 4)
    run_epoch(other, clock, 4)
    other.close_epoch({"train:loss": 0.5}, epoch=1, step=4, seconds=1.0, samples=1)
    other.close()
    first = Recorder(Ranks(), tmp_path, tmp_path / "tensorboard")
    first.start(0, 4)
    for _ in first.epoch(slowly(clock, 1, 1.0)):
        first.step(1, 1, Sums(torch.tensor(0.0), torch.tensor(0.0), 0))
    assert not caplog.messages
    assert list(tmp_path.iterdir()) == []


def test_memory_of_a_gpu_is_told_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 << 30)
    assert gpu_memory(torch.device("cuda", 0)) == {"gpu_memory_gib": 3.0}
    assert gpu_memory(torch.device("cpu")) == {}
