"""Memory that runs out on one rank of several: all go on with less at once, learn the same, and nobody hangs."""

import json

import pytest
import torch
from torch import nn
from twofold.train.memory import Guard, MicroBatch
from twofold.train.ranks import Ranks

SCRIPT = "train_short_of_memory.py"
SHORT, MOST = 1, 2
RUN = {
    "model": "gpt",
    "context": 16,
    "width": 32,
    "layers": 3,
    "heads": 4,
    "batch_size": 12,
    "epochs": 2,
    "max_steps": 5,
    "learning_rate": 0.01,
    "export_onnx": False,
}


def losses(paths):
    lines = (paths.output_data / "metrics.jsonl").read_text().splitlines()
    return [[json.loads(line)[name] for name in ("train:loss", "validation:loss")] for line in lines]


def slices(size, count):
    return [(each.start, each.stop) for each in MicroBatch(size, Ranks()).slices(count, equal=True)]


def test_a_share_is_cut_evenly_and_never_into_nothing():
    assert slices(0, 5) == [(0, 5)]
    assert slices(2, 5) == [(0, 2), (2, 4), (4, 5)]
    assert slices(8, 5) == [(0, 5)]
    assert slices(0, 0) == slices(4, 0) == [(0, 0)]


def test_halving_ends_at_one_sample():
    micro = MicroBatch(0, Ranks())
    for expected in (6, 3, 2, 1):
        micro.halve(11)
        assert micro.size == expected
    with pytest.raises(torch.OutOfMemoryError, match="with one sample") as caught:
        micro.halve(11)
    assert "lower 'micro_batch_size'" in caught.value.__notes__[0]


class Blocks(nn.Module):
    """Three blocks, of which `short` runs out of memory where it is given samples; -1 and 3 are before and after."""

    def __init__(self, short):
        super().__init__()
        self.short, self.entered = short, []
        self.blocks = nn.ModuleList(Block(self, number) for number in range(3))

    def need(self, number, rows):
        if number == self.short and len(rows):
            raise torch.OutOfMemoryError

    def forward(self, rows):
        self.need(-1, rows)
        for block in self.blocks:
            rows = block(rows)
        self.need(3, rows)
        return rows


class Block(nn.Module):
    def __init__(self, model, number):
        super().__init__()
        self.number, self.model = number, [model]

    def forward(self, rows):
        self.model[0].entered.append(self.number)
        self.model[0].need(self.number, rows)
        return rows


@pytest.mark.parametrize("short", [None, -1, 0, 1, 2, 3])
def test_a_rank_without_memory_enters_every_block_as_its_peers_do(short):
    module = Blocks(short)
    guard = Guard(module, module.blocks)
    hooked = [0] * 3
    for number, block in enumerate(module.blocks):
        block.register_forward_pre_hook(lambda *_, number=number: hooked.__setitem__(number, hooked[number] + 1))
    answers = module(torch.ones(4, 2))
    assert hooked == [1, 1, 1]
    assert guard.ran_out == (short is not None)
    assert len(answers) == (0 if guard.ran_out else 4)
    module.short = None
    assert len(module(torch.ones(4, 2))) == 4
    assert not guard.ran_out


def test_between_two_blocks_a_rank_leaves():
    module = Blocks(None)
    guard = Guard(module, module.blocks)
    module.blocks[1].register_forward_pre_hook(lambda *_: module.need(module.short, torch.ones(1)))
    module.short = 5
    with pytest.raises(torch.OutOfMemoryError):
        module(torch.ones(4, 2))
    assert guard.is_inside


@pytest.fixture(scope="module")
def alone(make_tree, prose):
    return make_tree(prose, **RUN)


def check(place, after, make_tree, prose, train_together, expected, ways, begin=6):
    trees = [make_tree(prose, **RUN, parallel=way, micro_batch_size=begin) for way in ways]
    said = train_together(2, SCRIPT, SHORT, MOST, place, after, *(tree.base for tree in trees))
    for tree in trees:
        assert losses(tree) == [pytest.approx(pair, rel=1e-4) for pair in losses(expected)]
    if begin == 6:
        assert said.count("out of memory with 6 samples a forward pass: going on with 3") >= len(ways)
    assert said.count("out of memory with 3 samples a forward pass: going on with 2") >= len(ways)


@pytest.mark.slow
@pytest.mark.procs
def test_the_loss_is_the_same_when_one_rank_runs_out_of_memory(make_tree, prose, train_together, train_here, alone):
    train_here(alone)
    check("block", 0, make_tree, prose, train_together, alone, ["ddp", "fsdp"])


@pytest.mark.slow
@pytest.mark.procs
@pytest.mark.parametrize(
    ("place", "after", "ways"),
    [
        ("embedding", 0, ["ddp", "fsdp"]),
        ("head", 0, ["ddp", "fsdp"]),
        ("backward", 0, ["ddp"]),
        ("block", 3 * 3 + 1, ["ddp", "fsdp"]),
    ],
)
def test_wherever_and_whenever_it_runs_out(place, after, ways, make_tree, prose, train_together, train_here, alone):
    train_here(alone)
    check(place, after, make_tree, prose, train_together, alone, ways)


@pytest.mark.slow
@pytest.mark.procs
def test_it_runs_out_before_the_last_micro_batch_of_a_step(make_tree, prose, train_together, train_here, alone):
    """Two steps, of two micro-batches and three blocks each, went well before."""
    train_here(alone)
    check("block", 2 * 2 * 3, make_tree, prose, train_together, alone, ["ddp", "fsdp"], begin=3)


@pytest.mark.slow
@pytest.mark.procs
@pytest.mark.parametrize(("place", "way"), [("backward", "fsdp"), ("block", "tp")])
def test_where_peers_wait_inside_the_model_the_rank_leaves_with_advice(place, way, make_tree, prose, start_ranks):
    done = start_ranks(2, SCRIPT, SHORT, MOST, place, 0, make_tree(prose, **RUN, parallel=way).base)
    assert done.returncode != 0
    assert "OutOfMemoryError: Tried to allocate" in done.stderr
    assert "lower 'micro_batch_size' (the loss stays the same), set 'activation_checkpointing'" in done.stderr
