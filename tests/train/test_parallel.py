"""The gradient of a step; that ranks agree on it is tested with real ranks in test_job.py."""

import pytest
import torch
from torch import nn
from twofold.train.config import TrainingConfig
from twofold.train.parallel import Replica
from twofold.train.ranks import Ranks
from twofold.train.samples import Batch
from twofold.train.tasks import Classification

TASK = Classification((0, 1, 2))
SCALER = torch.amp.GradScaler("cpu", enabled=False)


def batch(count, global_count):
    random = torch.Generator().manual_seed(1)
    rows = torch.randn(count, 4, generator=random)
    return Batch(step=0, rows=rows, labels=torch.arange(count) % 3.0, global_count=global_count)


def replica(**settings):
    torch.manual_seed(0)
    return Replica(nn.Linear(4, 3), TrainingConfig(**settings), Ranks())


def gradient(of):
    return torch.cat([parameter.grad.flatten() for parameter in of.module.parameters()])


@pytest.mark.parametrize("size", [0, 1, 3, 7, 10, 64])
def test_the_gradient_is_that_of_the_mean_loss_however_it_is_cut(size):
    found, data = replica(micro_batch_size=size), batch(10, 10)
    sums = found.accumulate(data, TASK, SCALER)
    expected = replica()
    loss = nn.functional.cross_entropy(expected.module(data.rows), data.labels.long())
    loss.backward()
    assert torch.allclose(gradient(found), gradient(expected), atol=1e-6)
    assert sums.loss.item() / 10 == pytest.approx(loss.item(), rel=1e-6)
    assert sums.count == 10


@pytest.mark.parametrize("size", [0, 3])
def test_a_share_weighs_as_many_samples_as_it_has(size):
    """A rank with 4 of 10 samples gives four tenths of the mean of its own."""
    part, alone = replica(micro_batch_size=size), replica()
    part.accumulate(batch(4, 10), TASK, SCALER)
    alone.accumulate(batch(4, 4), TASK, SCALER)
    assert torch.allclose(gradient(part), gradient(alone) * 0.4, atol=1e-6)


@pytest.mark.parametrize("size", [0, 3])
def test_an_empty_share_takes_part_with_a_gradient_of_zero(size):
    found = replica(micro_batch_size=size)
    sums = found.accumulate(batch(0, 10), TASK, SCALER)
    assert gradient(found).eq(0).all()
    assert (sums.loss.item(), sums.score.item(), sums.count) == (0, 0, 0)


def test_micro_batches_are_never_larger_than_asked():
    seen = []
    found = replica(micro_batch_size=4)
    found.module.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    found.accumulate(batch(10, 10), TASK, SCALER)
    assert seen == [4, 4, 2]


def test_evaluation_leaves_no_gradient():
    found = replica()
    sums = found.evaluate(batch(6, 6), TASK)
    assert all(parameter.grad is None for parameter in found.module.parameters())
    assert sums.loss.item() > 0
    assert sums.count == 6


def test_the_forward_pass_is_in_the_precision_asked_for():
    seen = []
    found = replica(precision="bf16")
    found.module.register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    found.accumulate(batch(2, 2), TASK, SCALER)
    assert seen == [torch.bfloat16]
    assert gradient(found).dtype == torch.float32
