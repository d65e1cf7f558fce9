import json
import logging

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from twofold.errors import ConfigError
from twofold.train.checkpoint import Checkpoints, Progress, State, seed_step
from twofold.train.config import TrainingConfig
from twofold.train.optim import build_optimizer
from twofold.train.ranks import Ranks

IDENTITY = {"model": "mlp", "arguments": {"hidden": [4]}, "batch_size": 8, "seed": 0, "samples": 30}


def state(steps=2, seed=0):
    torch.manual_seed(seed)
    module = nn.Linear(3, 2)
    optimizer = build_optimizer(module, TrainingConfig())
    for _ in range(steps):
        module(torch.randn(4, 3)).square().sum().backward()
        optimizer.step()
    return State(module, optimizer, best={name: t.clone() for name, t in module.state_dict().items()})


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


@pytest.fixture
def checkpoints(folder):
    return Checkpoints(folder, IDENTITY, Ranks())


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_everything_comes_back(checkpoints):
    before, after = state(seed=0), state(steps=0, seed=9)
    after.best.clear()
    progress = Progress(
        epoch=2,
        epoch_step=1,
        step=7,
        closed=6,
        epoch_sums=[0.1, 2.0, 3.0],
        best={"loss": 0.1 + 0.2},
        worse=1,
        scaler={"scale": 1024.0, "_growth_tracker": 3},
    )
    checkpoints.save(progress, before)
    assert checkpoints.resume(after) == progress
    for name, tensor in before.module.state_dict().items():
        assert torch.equal(after.module.state_dict()[name], tensor)
        assert torch.equal(after.best[name], tensor)
    old, new = before.optimizer.state_dict(), after.optimizer.state_dict()
    assert old["state"].keys() == new["state"].keys()
    for number, values in old["state"].items():
        assert all(torch.equal(new["state"][number][name], value) for name, value in values.items())


def test_settings_of_the_optimizer_come_from_the_job(checkpoints):
    checkpoints.save(Progress(step=1), state())
    after = state(steps=0)
    after.optimizer.param_groups[0]["lr"] = 0.5
    checkpoints.resume(after)
    assert after.optimizer.param_groups[0]["lr"] == 0.5


def test_no_folder_is_a_fresh_start(checkpoints):
    assert checkpoints.resume(state()) == Progress()


def test_the_two_newest_stay(checkpoints, folder):
    for step in (9, 10, 1000):
        checkpoints.save(Progress(step=step), state())
    assert names(folder) == ["step-000000010.safetensors", "step-000001000.safetensors"]
    assert checkpoints.resume(state()).step == 1000


def test_what_a_killed_run_left_half_written_is_neither_read_nor_kept(checkpoints, folder):
    folder.mkdir()
    (folder / ".step-000000099.safetensors.partial").write_bytes(b"half")
    assert checkpoints.resume(state()) == Progress()
    checkpoints.save(Progress(step=1), state())
    assert names(folder) == ["step-000000001.safetensors"]


def test_the_name_appears_only_when_the_file_is_whole(checkpoints, folder, monkeypatch):
    seen = []
    monkeypatch.setattr("twofold.train.checkpoint.os.fsync", lambda _: seen.append(names(folder)))
    checkpoints.save(Progress(step=1), state())
    assert seen == [[".step-000000001.safetensors.partial"]]
    assert names(folder) == ["step-000000001.safetensors"]


@pytest.mark.parametrize(
    "broken", [b"", b"\x10", b"\xff" * 8, b"\x02\x00\x00\x00\x00\x00\x00\x00{}", b"garbage of some length", None]
)
def test_a_broken_newest_one_is_passed_over(checkpoints, folder, caplog, broken):
    for step in (1, 2):
        checkpoints.save(Progress(step=step), state())
    newest = folder / "step-000000002.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1] if broken is None else broken)
    assert checkpoints.resume(state()).step == 1
    assert "passing over the broken checkpoint" in caplog.text


def test_tensors_of_someone_else_are_passed_over(checkpoints, folder, caplog):
    folder.mkdir()
    save_file({"x": torch.zeros(1)}, folder / "step-000000002.safetensors")
    assert checkpoints.resume(state()) == Progress()
    assert "passing over" in caplog.text


@pytest.mark.parametrize(("name", "value"), [("batch_size", 16), ("seed", 1), ("arguments", {"hidden": [8]})])
def test_a_checkpoint_of_another_run_is_refused(checkpoints, folder, name, value):
    checkpoints.save(Progress(step=1), state())
    other = Checkpoints(folder, {**IDENTITY, name: value}, Ranks())
    with pytest.raises(ConfigError, match=rf"{name}=.*this job has {name}=.*empty checkpoint folder"):
        other.resume(state())


def test_a_full_disk_costs_the_checkpoint_and_not_the_job(checkpoints, folder, caplog, files_of_at_most):
    checkpoints.save(Progress(step=1), state())
    with files_of_at_most(100):
        checkpoints.save(Progress(step=2), state())
    assert "no checkpoint at step 2, earlier ones stay" in caplog.text
    assert names(folder) == ["step-000000001.safetensors"]
    assert checkpoints.resume(state()).step == 1


def test_a_folder_that_cannot_be_made_costs_the_checkpoint_and_not_the_job(folder, caplog):
    folder.write_text("a file")
    Checkpoints(folder, IDENTITY, Ranks()).save(Progress(step=1), state())
    assert "no checkpoint at step 1" in caplog.text


def test_only_the_first_rank_writes(folder):
    Checkpoints(folder, IDENTITY, Ranks(rank=1, world=2)).save(Progress(step=1), state())
    assert not folder.exists()


def test_a_checkpoint_says_what_it_belongs_to(checkpoints, folder):
    checkpoints.save(Progress(step=1), state())
    content = (folder / "step-000000001.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert json.loads(header["__metadata__"]["identity"]) == IDENTITY


def test_each_step_and_rank_has_random_numbers_of_its_own():
    drawn = set()
    for seed, step, rank in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1)]:
        seed_step(seed, step, rank)
        drawn.add(torch.rand(1).item())
    assert len(drawn) == 5
    seed_step(0, 1, 1)
    assert torch.rand(1).item() in drawn


@pytest.fixture(autouse=True)
def _log_everything(caplog):
    caplog.set_level(logging.INFO)
