import json
import logging
import os
import random
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from twofold.errors import ConfigError, TwofoldError
from twofold.train import checkpoint, checkpoint_state, checkpoint_write
from twofold.train.checkpoint import STOP_BUDGET_S, Checkpoints, Progress, seed_step
from twofold.train.checkpoint_state import State
from twofold.train.checkpoint_write import Pauses
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


def save(checkpoints, step, what=None):
    checkpoints.save(Progress(step=step), what or state())
    checkpoints.wait()


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def whole(step):
    return [f"step-{step:09d}{name}" for name in ("", "/complete.json", "/rank-00000.safetensors")]


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
    checkpoints.wait()
    assert checkpoints.resume(after) == progress
    for name, tensor in before.module.state_dict().items():
        assert torch.equal(after.module.state_dict()[name], tensor)
        assert torch.equal(after.best[name], tensor)
    old, new = before.optimizer.state_dict(), after.optimizer.state_dict()
    assert old["state"].keys() == new["state"].keys()
    for number, values in old["state"].items():
        assert all(torch.equal(new["state"][number][name], value) for name, value in values.items())


def test_settings_of_the_optimizer_come_from_the_job(checkpoints):
    save(checkpoints, 1)
    after = state(steps=0)
    after.optimizer.param_groups[0]["lr"] = 0.5
    checkpoints.resume(after)
    assert after.optimizer.param_groups[0]["lr"] == 0.5


def test_an_optimizer_without_a_step_stays_without(checkpoints):
    """As when the loss scale of fp16 has skipped all steps so far."""
    save(checkpoints, 1, state(steps=0))
    after = state()
    checkpoints.resume(after)
    assert not after.optimizer.state


def test_no_folder_is_a_fresh_start(checkpoints):
    assert checkpoints.resume(state()) == Progress()


def test_the_two_newest_stay(checkpoints, folder):
    for step in (9, 10, 1000):
        save(checkpoints, step)
    assert names(folder) == [*whole(10), *whole(1000)]
    assert checkpoints.resume(state()).step == 1000


def test_a_checkpoint_is_of_the_moment_when_it_was_asked_for(checkpoints):
    """Training goes on as soon as all is copied, and never waits for the disk."""
    before = state()
    weights = {name: tensor.clone() for name, tensor in before.module.state_dict().items()}
    progress = Progress(step=1)
    checkpoints.save(progress, before)
    checkpoints.staged()
    progress.step = 2
    with torch.no_grad():
        for parameter in before.module.parameters():
            parameter.zero_()
    checkpoints.wait()
    after = state(seed=5)
    assert checkpoints.resume(after).step == 1
    assert all(torch.equal(after.module.state_dict()[name], tensor) for name, tensor in weights.items())


def test_the_optimizer_does_not_wait_for_a_thread_that_gets_no_cpu(checkpoints, monkeypatch):
    """What is not copied yet the training thread copies itself."""
    let_go, before = threading.Event(), state()
    quietly = checkpoint_state.Copying.finish_quietly
    monkeypatch.setattr(checkpoint_state.Copying, "finish_quietly", lambda self: (let_go.wait(), quietly(self)))
    checkpoints.save(Progress(step=1), before)
    checkpoints.staged()
    weight = before.module.weight.detach().clone()
    with torch.no_grad():
        before.module.weight.zero_()
    let_go.set()
    checkpoints.wait()
    after = state(seed=5)
    checkpoints.resume(after)
    assert torch.equal(after.module.weight, weight)


def test_better_weights_do_not_reach_a_checkpoint_under_way(checkpoints):
    before = state()
    best = {name: tensor.clone() for name, tensor in before.best.items()}
    checkpoints.save(Progress(step=1), before)
    before.best.update({name: tensor + 1 for name, tensor in before.best.items()})
    checkpoints.wait()
    after = state(seed=5)
    checkpoints.resume(after)
    assert all(torch.equal(after.best[name], tensor) for name, tensor in best.items())


def test_a_checkpoint_that_is_there_is_not_written_again(checkpoints, folder):
    save(checkpoints, 3)
    content = (folder / "step-000000003/complete.json").stat().st_mtime_ns
    save(checkpoints, 3)
    assert (folder / "step-000000003/complete.json").stat().st_mtime_ns == content


def test_what_a_killed_run_left_half_written_is_neither_read_nor_kept(checkpoints, folder):
    save(checkpoints, 7)
    (folder / "step-000000007/complete.json").unlink()
    (folder / "step-000000007/.rank-00001.safetensors.partial").write_bytes(b"half")
    again = Checkpoints(folder, IDENTITY, Ranks())
    assert again.resume(state()) == Progress()
    save(again, 8)
    assert names(folder) == whole(8)


def test_files_have_their_names_only_when_they_are_whole(checkpoints, folder, monkeypatch):
    seen = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (seen.append(names(folder)), fsync(descriptor)))
    save(checkpoints, 1)
    place, manifest, rank = whole(1)
    partial = [f"{place}/.{name.name}.partial" for name in (Path(manifest), Path(rank))]
    # The file of the rank, its name, the manifest, its name.
    assert seen == [[place, partial[1]], [place, rank], sorted([place, partial[0], rank]), whole(1)]


MANIFEST, FILE = "complete.json", "rank-00000.safetensors"


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        (FILE, lambda content: b""),
        (FILE, lambda content: content[:-1]),
        (FILE, lambda content: content + b"x"),
        (FILE, lambda content: content[:-9] + b"otherwise"),
        (FILE, None),
        (MANIFEST, lambda content: b""),
        (MANIFEST, lambda content: content[:-1]),
        (MANIFEST, lambda content: b"[]"),
        (MANIFEST, lambda content: b"\xff\xfe"),
        (MANIFEST, lambda content: b"{}"),
        (MANIFEST, lambda content: content.replace(b"rank-00000", b"../../rank")),
        (MANIFEST, None),
    ],
)
def test_a_broken_newest_one_is_passed_over(folder, caplog, name, broken):
    checkpoints = Checkpoints(folder, IDENTITY, Ranks())
    for step in (1, 2):
        save(checkpoints, step)
    path = folder / "step-000000002" / name
    if broken:
        path.write_bytes(broken(path.read_bytes()))
    else:
        path.unlink()
    assert checkpoints.resume(state()).step == 1
    # What has no manifest is no checkpoint, but one that was being written.
    assert ("passing over the broken checkpoint" in caplog.text) == (name == FILE or broken is not None)


@pytest.mark.parametrize(("name", "value"), [("batch_size", 16), ("seed", 1), ("arguments", {"hidden": [8]})])
def test_a_checkpoint_of_another_run_is_refused(checkpoints, folder, name, value):
    save(checkpoints, 1)
    other = Checkpoints(folder, {**IDENTITY, name: value}, Ranks())
    with pytest.raises(ConfigError, match=rf"{name}=.*this job has {name}=.*empty checkpoint folder"):
        other.resume(state())


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (nn.Linear(4, 2), r"best.weight with shape \[2, 3\], the model of this job \[2, 4\]"),
        (nn.Linear(3, 2, bias=False), r"best.bias with shape \[2\], the model of this job None"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(checkpoints, module, text):
    """The code of an own model can change between two runs."""
    save(checkpoints, 1)
    with pytest.raises(ConfigError, match=text):
        checkpoints.resume(State(module, build_optimizer(module, TrainingConfig()), best={}))


def test_a_full_disk_costs_the_checkpoint_and_not_the_job(checkpoints, folder, caplog, files_of_at_most):
    save(checkpoints, 1)
    with files_of_at_most(100):
        save(checkpoints, 2)
    assert "no checkpoint at step 2, earlier ones stay" in caplog.text
    assert names(folder) == whole(1)
    assert checkpoints.resume(state()).step == 1


def test_a_disk_too_full_for_the_manifest_costs_the_checkpoint_too(checkpoints, folder, caplog, files_of_at_most):
    save(checkpoints, 1)
    size = (folder / "step-000000001" / FILE).stat().st_size
    assert (folder / "step-000000001" / MANIFEST).stat().st_size > size
    with files_of_at_most(size):
        save(checkpoints, 2)
    assert "no checkpoint at step 2, earlier ones stay" in caplog.text
    assert names(folder) == whole(1)


def test_a_folder_that_cannot_be_made_costs_the_checkpoint_and_not_the_job(folder, caplog):
    folder.write_text("a file")
    save(Checkpoints(folder, IDENTITY, Ranks()), 1)
    assert "no checkpoint at step 1" in caplog.text


def test_a_fault_of_ours_is_not_taken_for_a_full_disk(checkpoints, monkeypatch):
    monkeypatch.setattr("twofold.train.checkpoint_files.sync_folder", lambda path: {}[path])
    checkpoints.save(Progress(step=1), state())
    with pytest.raises(TwofoldError, match="The checkpoint of step 1 failed"):
        checkpoints.wait()


def test_a_last_one_is_written_while_there_is_time(checkpoints, folder, caplog):
    checkpoints.save_last(Progress(step=1), state(), time.monotonic() - STOP_BUDGET_S / 2)
    assert names(folder) == whole(1)
    checkpoints.save_last(Progress(step=2), state(), time.monotonic() - STOP_BUDGET_S - 1)
    assert names(folder) == whole(1)
    assert "no time to write a checkpoint at step 2: the last one is of step 1" in caplog.text


def test_only_the_last_one_is_written_at_the_priority_of_training(checkpoints, monkeypatch):
    niceness, fsync = [], os.fsync

    def noting(descriptor):
        niceness.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    ours = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    save(checkpoints, 1)
    assert set(niceness) == {19}
    niceness.clear()
    checkpoints.save_last(Progress(step=2), state(), time.monotonic())
    assert set(niceness) == {ours}


def test_a_save_rests_between_windows_until_somebody_waits(checkpoints, folder, monkeypatch):
    monkeypatch.setattr(checkpoint, "_UNHURRIED", 1e9)
    monkeypatch.setattr(checkpoint_write, "_REST", 1e9)
    resting, rest = threading.Event(), Pauses.rest
    monkeypatch.setattr(Pauses, "rest", lambda pauses, worked: (resting.set(), rest(pauses, worked)))
    large = state()
    large.best["large"] = torch.zeros(10 << 20)
    checkpoints.save(Progress(step=1), large)
    assert resting.wait(60)
    assert not checkpoints.is_written()
    checkpoints.save_last(Progress(step=2), state(), time.monotonic())
    assert names(folder) == [*whole(1), *whole(2)]


def test_a_folder_moved_to_another_place_is_as_good(checkpoints, folder, tmp_path):
    save(checkpoints, 1)
    shutil.move(folder, tmp_path / "restored")
    assert Checkpoints(tmp_path / "restored", IDENTITY, Ranks()).resume(state()).step == 1


def test_nothing_in_a_checkpoint_is_unpickled(checkpoints, folder):
    """A checkpoint is tensors that safetensors reads, and JSON."""
    save(checkpoints, 1)
    place = folder / "step-000000001"
    assert json.loads((place / MANIFEST).read_text())["identity"] == IDENTITY
    assert load_file(place / FILE).keys() >= {"model.weight", "best.weight", "optimizer.weight.exp_avg"}
    assert len(names(folder)) == 3


def test_each_step_and_rank_has_random_numbers_of_its_own():
    drawn = set()
    for seed, step, rank in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1)]:
        seed_step(seed, step, rank)
        drawn.add(torch.rand(1).item())
    assert len(drawn) == 5
    seed_step(0, 1, 1)
    assert torch.rand(1).item() in drawn


def test_models_of_ones_own_can_draw_from_python_and_numpy_too():
    drawn = []
    for _ in range(2):
        seed_step(2**62, 3, 1)
        drawn.append((random.random(), np.random.rand()))  # noqa: NPY002
    assert drawn[0] == drawn[1]


def test_a_gpu_is_seeded_once_it_is_in_use(monkeypatch):
    seeds = []
    monkeypatch.setattr(torch.cuda, "manual_seed", seeds.append)
    seed_step(0, 1, 0)
    assert seeds == []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    seed_step(0, 1, 0)
    assert seeds == [8191]


@pytest.fixture(autouse=True)
def _log_everything(caplog):
    caplog.set_level(logging.INFO)
