import pytest
import torch
from twofold.train.config import TrainingConfig
from twofold.train.optim import build_optimizer, learning_rate, set_learning_rate


def course(total, **settings):
    config = TrainingConfig(learning_rate=1.0, **settings)
    return [learning_rate(step, config, total) for step in range(total)]


def test_constant_stays():
    assert course(3) == [1, 1, 1]


def test_warm_up_reaches_the_peak_with_its_last_step():
    assert course(6, warmup_steps=4) == [0.25, 0.5, 0.75, 1, 1, 1]


def test_linear_would_be_zero_after_the_last_step():
    assert course(4, schedule="linear") == [1, 0.75, 0.5, 0.25]
    assert course(6, schedule="linear", warmup_steps=2) == [0.5, 1, 1, 0.75, 0.5, 0.25]


def test_cosine_is_half_way_in_the_middle():
    rates = course(4, schedule="cosine")
    assert rates[0] == 1
    assert rates[2] == pytest.approx(0.5)
    assert sorted(rates, reverse=True) == rates
    assert learning_rate(4, TrainingConfig(schedule="cosine"), 4) == pytest.approx(0)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_a_warm_up_longer_than_the_run_only_rises(schedule):
    rates = course(3, schedule=schedule, warmup_steps=10)
    assert rates == pytest.approx([0.1, 0.2, 0.3])


def test_the_rate_reaches_the_optimizer():
    module = torch.nn.Linear(1, 1)
    optimizer = build_optimizer(module, TrainingConfig(weight_decay=0.5))
    set_learning_rate(optimizer, 0.25)
    assert [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups] == [(0.25, 0.5), (0.25, 0.0)]


def test_weights_decay_and_biases_do_not_and_what_is_frozen_stays():
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2), torch.nn.Linear(2, 2))
    module[2].weight.requires_grad_(requires_grad=False)
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    optimizer = build_optimizer(module, TrainingConfig(learning_rate=0.5, weight_decay=0.1))
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in module.named_parameters():
        assert torch.allclose(parameter, before[name] * (0.95 if name == "0.weight" else 1)), name
