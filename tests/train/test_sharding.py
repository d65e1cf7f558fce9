"""Real ranks that share a job in every way learn what one rank learns alone."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from twofold.errors import ConfigError
from twofold.models.table import build
from twofold.train.config import TrainingConfig
from twofold.train.degrees import Degrees
from twofold.train.mesh import Mesh
from twofold.train.ranks import Ranks
from twofold.train.sharding import blocks, shard

TOLERANCE = 1e-4
"""Relative, of the loss over all steps of a run in fp32: sums in another order differ in the last digits."""
ROUGH = 2e-2
"""The same in bf16 and fp16."""
GPT = {"model": "gpt", "context": 16, "width": 32, "layers": 2, "heads": 4, "batch_size": 8, "learning_rate": 0.01}
SHORT = GPT | {
    "export_onnx": False,
    "epochs": 2,
    "max_steps": 10,
    "grad_clip": 1.0,
    "weight_decay": 0.1,
    "warmup_steps": 2,
}
WAYS = {
    "ddp": {},
    "fsdp": {"parallel": "fsdp"},
    "tp": {"parallel": "tp"},
    "fsdp in parts": {"parallel": "fsdp", "micro_batch_size": 3},
    "tp in parts": {"parallel": "tp", "micro_batch_size": 3, "positions": "learned"},
    "fsdp bf16": {"parallel": "fsdp", "precision": "bf16"},
    "fsdp fp16": {"parallel": "fsdp", "precision": "fp16", "activation_checkpointing": True},
    "tp fp16": {"parallel": "tp", "precision": "fp16", "activation_checkpointing": True},
}
ALONE = {"micro_batch_size", "positions", "precision", "activation_checkpointing"}
"""Settings that a run alone shares with the ways it is compared with; the last two change nothing."""
RESNET = {"model": "resnet", "filters": 8, "epochs": 2, "batch_size": 5, "export_onnx": False, "learning_rate": 1e-3}
MLP = {"hidden": "16", "epochs": 2, "batch_size": 8, "export_onnx": False, "learning_rate": 0.01}
STOPPED = {"parallel": "fsdp", "max_steps": 3, "checkpoint_every": 3}
"""Ends in the middle of an epoch."""
GRID = {"parallel": "fsdp+tp"}


def history(paths):
    return [json.loads(line) for line in (paths.output_data / "metrics.jsonl").read_text().splitlines()]


def measured(paths):
    return [[record["train:loss"], record["validation:loss"], record["train:accuracy"]] for record in history(paths)]


@pytest.fixture(scope="session")
def together(make_tree, prose, classes, train_together):
    """A tree for each way, trained by two ranks; and a checkpoint that fully sharded ranks leave to others."""
    trees = {way: make_tree(prose, **SHORT | settings) for way, settings in WAYS.items()}
    trees["resnet"] = make_tree({"training": pictures()}, **RESNET, parallel="fsdp")
    trees["mlp"] = make_tree({"training": {"a.csv": classes(65)}}, **MLP, parallel="fsdp")
    trees["stopped"] = make_tree(prose, **SHORT | STOPPED)
    trees["resumed"] = resuming(make_tree(prose, **SHORT, parallel="tp"), trees["stopped"])
    train_together(2, "train_trees.py", *(tree.base for tree in trees.values()))
    return trees


def pictures():
    """Files of 12 small images of two classes."""
    random, files = np.random.default_rng(0), {}
    for number in range(12):
        sink = io.BytesIO()
        Image.fromarray(random.integers(number % 2 * 120, 256, (8, 8, 3), dtype=np.uint8)).save(sink, "PNG")
        files[f"{'ab'[number % 2]}/{number}.png"] = sink.getvalue()
    return files


def resuming(paths, stopped):
    """Let a tree find the checkpoint of another one, which may not be there yet."""
    paths.checkpoints.mkdir()
    name = f"step-{STOPPED['max_steps']:09d}"
    (paths.checkpoints / name).symlink_to(stopped.checkpoints / name)
    return paths


@pytest.mark.procs
@pytest.mark.parametrize("way", list(WAYS))
def test_two_ranks_learn_what_one_does(way, together, make_tree, prose, train_here):
    settings = {name: value for name, value in WAYS[way].items() if name in ALONE}
    alone = train_here(make_tree(prose, **SHORT | settings))
    bound = ROUGH if "precision" in settings else TOLERANCE
    expected = [pytest.approx(each, rel=bound, abs=bound) for each in measured(alone.paths)]
    assert measured(together[way]) == expected
    found = load_file(together[way].model / "weights.safetensors")
    wanted = load_file(alone.paths.model / "weights.safetensors")
    assert {name: each.shape for name, each in found.items()} == {name: each.shape for name, each in wanted.items()}


@pytest.mark.procs
@pytest.mark.parametrize("way", ["fsdp", "tp"])
def test_the_artifact_is_the_one_of_a_run_alone(way, together, make_tree, prose, train_here):
    alone = load_file(train_here(make_tree(prose, **SHORT)).paths.model / "weights.safetensors")
    found = load_file(together[way].model / "weights.safetensors")
    assert all((found[name] - each).abs().max() < 1e-3 for name, each in alone.items())


@pytest.mark.procs
def test_metrics_are_counted_once(together):
    for way in WAYS:
        assert [record["step"] for record in history(together[way])] == [5, 10]


@pytest.mark.procs
@pytest.mark.parametrize("model", ["mlp", "resnet"])
def test_any_model_is_sharded_with_blocks_or_without(model, together, make_tree, classes, train_here):
    settings, files = (MLP, {"a.csv": classes(65)}) if model == "mlp" else (RESNET, pictures())
    alone = train_here(make_tree({"training": files}, **settings))
    found, wanted = history(together[model]), history(alone.paths)
    names = ("step", "train:loss", "train:accuracy")
    assert [[each[name] for name in names] for each in found] == [
        pytest.approx([each[name] for name in names], rel=TOLERANCE) for each in wanted
    ]


@pytest.mark.slow
@pytest.mark.procs
def test_a_checkpoint_of_sharded_ranks_goes_on_in_tensor_parallel_and_alone(together, make_tree, prose, train_here):
    unbroken = [pytest.approx(each, rel=TOLERANCE) for each in measured(together["fsdp"])]
    assert measured(together["resumed"]) == unbroken
    alone = train_here(resuming(make_tree(prose, **SHORT), together["stopped"]))
    assert measured(alone.paths) == unbroken


def test_blocks_are_the_members_of_the_outermost_lists():
    gpt = build("gpt", {"width": 8, "layers": 3, "heads": 2})
    assert list(blocks(gpt)) == list(gpt.blocks)
    assert list(blocks(nn.Sequential(nn.Linear(2, 2)))) == []
    nested = nn.Sequential(nn.ModuleList([nn.ModuleList([nn.Linear(1, 1)]), nn.ModuleList([nn.ReLU()])]))
    assert list(blocks(nested)) == [nested[0][0][0], nested[0][1][0]]


def test_activations_computed_twice_change_no_gradient_and_no_name():
    gradients = []
    for twice in (False, True):
        torch.manual_seed(0)
        module = build("gpt", {"width": 8, "layers": 2, "heads": 2, "context": 4})
        names = list(module.state_dict())
        config = TrainingConfig(model="gpt", activation_checkpointing=twice)
        shard(module, config, Mesh(Degrees(), 0, 0), Ranks())
        assert list(module.state_dict()) == names
        module(torch.arange(8).reshape(2, 4)).square().sum().backward()
        gradients.append(torch.cat([each.grad.flatten() for each in module.parameters()]))
    assert torch.equal(*gradients)


def test_a_model_without_blocks_cannot_compute_them_twice():
    config = TrainingConfig(model="mlp", activation_checkpointing=True)
    with pytest.raises(ConfigError, match="activation_checkpointing is set, but the model 'mlp' has no blocks"):
        shard(nn.Linear(1, 1), config, Mesh(Degrees(), 0, 0), Ranks())


@pytest.mark.slow
@pytest.mark.procs
def test_fifty_steps_are_the_same_on_a_grid_of_four(make_tree, prose, train_together, train_here):
    """On 1 rank, 2 of DDP, 2 of FSDP, 2 of tensor parallelism, and 2 x 2; and a checkpoint of 2 x 2 on fewer."""
    long = SHORT | {"epochs": 10, "max_steps": 50}
    alone = train_here(make_tree(prose, **long))
    grid, stopped = (make_tree(prose, **long | {"tensor_parallel": 2} | each) for each in ({}, STOPPED | GRID))
    train_together(4, "train_trees.py", grid.base, stopped.base)
    two = [make_tree(prose, **long, parallel=way) for way in ("ddp", "fsdp", "tp")]
    fewer = [resuming(make_tree(prose, **long, parallel=way), stopped) for way in ("ddp", "tp")]
    train_together(2, "train_trees.py", *(tree.base for tree in (*two, *fewer)))
    expected = [pytest.approx(each, rel=1e-3) for each in measured(alone.paths)]
    assert len(expected) == 10
    for tree in (grid, *two, *fewer):
        assert measured(tree) == expected
