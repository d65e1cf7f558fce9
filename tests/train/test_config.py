import pytest
from twofold.errors import ConfigError
from twofold.models.table import ARCHITECTURES
from twofold.train.config import MODELS, TrainingConfig, read_config

DEFAULTS = {
    "model": "mlp",
    "model_arguments": {},
    "init_from": "",
    "init_head": "keep",
    "task": "auto",
    "class_weights": "none",
    "label": "",
    "image_size": 0,
    "vocabulary": 0,
    "on_bad_record": "stop",
    "hidden": [256, 256],
    "dropout": 0.0,
    "normalize": True,
    "depth": 18,
    "filters": 64,
    "norm": "group",
    "context": 256,
    "width": 256,
    "layers": 4,
    "heads": 4,
    "positions": "rope",
    "epochs": 10,
    "max_steps": 0,
    "batch_size": 64,
    "micro_batch_size": 0,
    "learning_rate": 0.001,
    "weight_decay": 0.0,
    "warmup_steps": 0,
    "schedule": "constant",
    "grad_clip": 0.0,
    "precision": "fp32",
    "compile": False,
    "baseline": False,
    "ledger": False,
    "hang_timeout": 60.0,
    "seed": 0,
    "eval_every": 1,
    "patience": 0,
    "checkpoint_every": 0,
    "export_onnx": True,
    "activation_checkpointing": False,
    "parallel": "auto",
    "tensor_parallel": 0,
    "processes_per_host": 0,
}
"""As the README promises them: a change of one is a change for every user."""

WRONG = {
    "model": ["forest", 1, "", None, ":build", "net.py:", "net.py:a b"],
    "model_arguments": [1, [1], "[]", None],
    "init_from": [1, None],
    "init_head": ["old", True],
    "task": ["cluster", 0],
    "class_weights": ["even", [-1], ["a"], 3, [float("nan")]],
    "label": [[1], None],
    "image_size": [-1, "big"],
    "vocabulary": [-1, 0.5],
    "on_bad_record": ["ignore", True],
    "hidden": ["a", "64,b", [0], [-1], 0, "1.5"],
    "dropout": [-0.1, 1, "x", float("nan")],
    "normalize": ["maybe", 2],
    "depth": [20, 0, "deep"],
    "filters": [4, 12, "x"],
    "norm": ["layer", True],
    "context": [0, "x"],
    "width": [1],
    "layers": [0],
    "heads": [0],
    "positions": ["none", 1],
    "epochs": [0, -1, 1.5, "ten", None, float("nan"), float("inf")],
    "max_steps": [-1, "x"],
    "batch_size": [0, -8, 2.5, [64]],
    "micro_batch_size": [-1, 0.5],
    "learning_rate": [0, -0.1, "fast", float("nan"), float("inf")],
    "weight_decay": [-1, float("inf")],
    "warmup_steps": [-1],
    "schedule": ["step", True],
    "grad_clip": [-1, float("nan")],
    "precision": ["fp8", 32],
    "compile": ["perhaps"],
    "baseline": ["perhaps"],
    "ledger": ["perhaps"],
    "hang_timeout": ["-1", "inf", "soon"],
    "seed": [-1, 2**63, 1.5],
    "eval_every": [0],
    "patience": [-1],
    "checkpoint_every": [-1],
    "export_onnx": ["perhaps"],
    "activation_checkpointing": ["perhaps"],
    "parallel": ["fdsp", "tp+fsdp"],
    "tensor_parallel": [-1, 1.5],
    "processes_per_host": [-1],
}


def test_defaults_are_as_promised():
    assert read_config({}).model_dump() == DEFAULTS


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_named_with_its_hyperparameter(name, value):
    with pytest.raises(ConfigError) as caught:
        read_config({name: value})
    text = str(caught.value)
    assert text.startswith(f"Hyperparameter {name!r} is {value!r}. ")
    assert text.endswith(f"Change {name!r}.")


def test_every_hyperparameter_has_wrong_values_here():
    assert WRONG.keys() == TrainingConfig.model_fields.keys()


@pytest.mark.parametrize(("name", "value"), DEFAULTS.items())
def test_a_value_may_come_as_a_string(name, value):
    """The SDK's quoting leaves a string a string where the caller meant one."""
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    assert getattr(read_config({name: text}), name) == value


@pytest.mark.parametrize("value", [[64, 32], "64,32", "64, 32", "64 32", ["64", "32"]])
def test_widths_come_in_many_ways(value):
    assert read_config({"hidden": value}).hidden == [64, 32]


def test_one_width_is_a_list_of_one():
    assert read_config({"hidden": 64}).hidden == [64]


@pytest.mark.parametrize("value", [[1, 2.5], "1,2.5", "1 2.5", ["1", "2.5"]])
def test_weights_come_in_many_ways(value):
    assert read_config({"class_weights": value}).class_weights == [1, 2.5]


@pytest.mark.parametrize("value", ["gpt", "resnet", "my_net.py:build", "nets/own:Net"])
def test_a_model_is_built_in_or_a_function_in_a_file(value):
    assert read_config({"model": value}).model == value


def test_built_in_models_are_those_of_the_table():
    assert set(MODELS) == set(ARCHITECTURES)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("epoch", "epochs"),
        ("batchsize", "batch_size"),
        ("lr", "learning_rate"),
        ("num_epochs", "epochs"),
        ("mini_batch_size", "batch_size"),
        ("learning-rate", "learning_rate"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(wrong, right):
    with pytest.raises(ConfigError, match=f"Unknown hyperparameter '{wrong}'. Did you mean '{right}'"):
        read_config({wrong: 1})


def test_a_name_like_none_gets_the_whole_list():
    with pytest.raises(
        ConfigError,
        match=r"Known: activation_checkpointing, baseline, batch_size, checkpoint_every, .*width. Rename it or leave",
    ):
        read_config({"zzz": 1})
