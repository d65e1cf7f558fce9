"""What ranks share, and what they cannot."""

import pytest
from twofold.errors import ConfigError
from twofold.train.config import TrainingConfig
from twofold.train.degrees import Degrees, choose_degrees


def degrees(world, local_world=None, **settings):
    return choose_degrees(TrainingConfig(**{"model": "gpt", **settings}), world, local_world or world)


@pytest.mark.parametrize(
    ("world", "settings", "expected"),
    [
        (1, {}, Degrees("none", 1, 1)),
        (1, {"parallel": "none"}, Degrees("none", 1, 1)),
        (1, {"parallel": "fsdp"}, Degrees("none", 1, 1)),
        (1, {"parallel": "tp"}, Degrees("none", 1, 1)),
        (4, {}, Degrees("ddp", 4, 1)),
        (4, {"parallel": "ddp"}, Degrees("ddp", 4, 1)),
        (4, {"parallel": "fsdp", "tensor_parallel": 1}, Degrees("fsdp", 4, 1)),
        (4, {"parallel": "tp"}, Degrees("tp", 1, 4)),
        (4, {"tensor_parallel": 4}, Degrees("tp", 1, 4)),
        (4, {"tensor_parallel": 2}, Degrees("fsdp+tp", 2, 2)),
        (4, {"parallel": "fsdp+tp", "tensor_parallel": 2}, Degrees("fsdp+tp", 2, 2)),
        (4, {"parallel": "fsdp+tp", "tensor_parallel": 2, "batch_size": 2}, Degrees("fsdp+tp", 2, 2)),
    ],
)
def test_ranks_of_one_host_share_as_asked(world, settings, expected):
    assert degrees(world, **settings) == expected


def test_the_ranks_of_a_host_share_layers_unless_told_otherwise():
    assert degrees(8, 4, parallel="fsdp+tp") == Degrees("fsdp+tp", 2, 4)
    assert degrees(8, 4, parallel="fsdp+tp", tensor_parallel=2) == Degrees("fsdp+tp", 4, 2)


@pytest.mark.parametrize("model", ["linear", "mlp", "resnet", "own.py:net"])
def test_any_model_can_be_fully_sharded_and_only_gpt_cut(model):
    assert degrees(2, parallel="fsdp", model=model).fully_sharded
    with pytest.raises(ConfigError, match=f"parallel is 'tp' with the model '{model}', whose layers.*'fsdp'"):
        degrees(2, parallel="tp", model=model)


@pytest.mark.parametrize(
    ("world", "local_world", "settings", "message"),
    [
        (2, 2, {"parallel": "none"}, "parallel is 'none' on 2 ranks. Leave 'parallel' out"),
        (
            2,
            2,
            {"parallel": "ddp", "tensor_parallel": 2},
            "tensor_parallel is 2, but parallel is 'ddp'. Set",
        ),
        (1, 1, {"tensor_parallel": 2}, "tensor_parallel is 2, on hosts of 1 ranks. Expected a divisor of 1"),
        (6, 6, {"tensor_parallel": 4}, "tensor_parallel is 4, on hosts of 6 ranks. Expected a divisor of 6"),
        (4, 2, {"parallel": "tp"}, "tensor_parallel is 4, on hosts of 2 ranks.*'fsdp\\+tp' to spread the rest"),
        (3, 3, {"parallel": "tp"}, "tensor_parallel is 3, and each block has 4 heads. Expected a divisor of the heads"),
        (4, 4, {"parallel": "tp", "tensor_parallel": 2}, "on 4 ranks. Expected all.*over the other 2"),
        (4, 4, {"parallel": "fsdp+tp"}, "tensor_parallel is 4, on 4 ranks: nothing is left.*'parallel' to 'tp'"),
        (4, 2, {"parallel": "fsdp+tp", "tensor_parallel": 1}, "tensor_parallel is 1, on 4.*'parallel' to 'fsdp'"),
        (2, 2, {"parallel": "tp", "compile": True}, "compile is true and parallel is 'tp'.*'parallel' to 'fsdp'"),
        (4, 2, {"batch_size": 3}, r"batch_size is 3, over 4 ranks \(2 hosts x 2 processes\), of which 4 see"),
        (4, 4, {"tensor_parallel": 2, "batch_size": 1}, r"batch_size is 1, over 4 ranks .*of which 2 see"),
    ],
)
def test_what_does_not_fit_is_refused_with_advice(world, local_world, settings, message):
    with pytest.raises(ConfigError, match=message):
        degrees(world, local_world, **settings)
