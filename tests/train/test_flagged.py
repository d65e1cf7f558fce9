"""Flags that travel with the gradient: every rank sees them in the step in which one has raised them."""

import json

import pytest
import torch
from torch import nn
from twofold.train.flagged import Flagged

RUN = {"batch_size": 8, "epochs": 9, "export_onnx": False, "model": "gpt", "context": 16, "width": 32, "heads": 4}
LAST, PROVING = 5, 2


def flagged(most):
    """A flagged model, and a loss that runs out of memory above `most` samples."""
    model = Flagged(nn.Linear(1, 1).bfloat16())

    def loss(part):
        seen.append(part.stop - part.start)
        if seen[-1] > most:
            raise torch.OutOfMemoryError("Tried to allocate")
        return model.module(torch.ones(4, 1).bfloat16()).sum()

    seen = []
    return model, loss, seen


@pytest.mark.parametrize("interrupted", [False, True])
@pytest.mark.parametrize("most", [2, 6])
def test_flags_are_the_gradient_of_a_loss_that_stays_the_same(interrupted, most):
    model, loss_of, seen = flagged(most)
    loss = model(loss_of, slice(4, 10))
    told = model.with_flags(loss, interrupted=interrupted)
    assert torch.equal(told, loss)
    told.backward()
    assert model.seen() == (interrupted, most < 6)
    assert seen == ([6] if most == 6 else [6, 2])
    assert model.flags.dtype == torch.bfloat16
    model.ran_out = False
    model.with_flags(loss.detach(), interrupted=False).backward()
    assert model.seen() == (False, False)


def test_memory_that_two_samples_do_not_fit_into_ends_the_run_with_advice():
    model, loss_of, _ = flagged(1)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        model(loss_of, slice(0, 6))
    assert "lower 'micro_batch_size'" in caught.value.__notes__[0]


@pytest.mark.procs
@pytest.mark.parametrize(
    "way", ["ddp", pytest.param("fsdp", marks=pytest.mark.slow), pytest.param("tp", marks=pytest.mark.slow)]
)
def test_all_ranks_leave_after_the_step_in_which_one_was_told_to_stop(way, make_tree, prose, train_together):
    """With DDP that costs no collective, once a size of micro-batch has proven to fit."""
    tree = make_tree(prose, **RUN, parallel=way)
    train_together(2, "train_interrupted.py", 1, LAST, tree.base)
    for rank in range(2):
        collectives = json.loads((tree.base / f"rank-{rank}.json").read_text())
        assert len(collectives) == LAST
        # The last step is followed by the sums of the epoch.
        assert way != "ddp" or collectives[PROVING:-1] == [0] * (LAST - PROVING - 1)
