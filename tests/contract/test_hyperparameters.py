import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twofold.contract.hyperparameters import Hyperparameters, decode, read_hyperparameters
from twofold.errors import ConfigError

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10", 10),
        ("0.001", 0.001),
        ("1e-3", 0.001),
        ("true", True),
        ("True", "True"),
        ("null", None),
        ("[64, 32]", [64, 32]),
        ('{"a": 1}', {"a": 1}),
        ("free text", "free text"),
        ("", ""),
        ("010", "010"),
        ("adam", "adam"),
        ('"adam"', "adam"),
        ('"\\"adam\\""', "adam"),
        ('"10"', "10"),
        ('"\\"10\\""', "10"),
        ('"[1, 2]"', "[1, 2]"),
        ('"null"', "null"),
        ('"', '"'),
        ('"adam', '"adam'),
        ("[" * 2500, "[" * 2500),
        ("9" * 5000, "9" * 5000),
        (10, 10),
        (None, None),
        ([1], [1]),
    ],
)
def test_decode(text, value):
    assert decode(text) == value
    assert type(decode(text)) is type(value)


def test_three_encodings_are_unwrapped_twice_only():
    assert decode(json.dumps(json.dumps(json.dumps("adam")))) == '"adam"'


def test_not_a_number_and_infinity_are_floats_as_the_toolkit_has_them():
    assert math.isnan(decode("NaN"))
    assert decode("Infinity") == math.inf
    assert decode("-Infinity") == -math.inf


@given(st.text())
def test_any_text_decodes_to_something(text):
    decode(text)


@given(JSON_VALUES.filter(lambda value: not (isinstance(value, str) and value.startswith('"'))))
def test_what_the_sdk_encodes_comes_back(value):
    assert decode(json.dumps(value)) == value


@given(st.text().filter(lambda text: not text.startswith('"')))
def test_text_encoded_twice_comes_back(text):
    assert decode(json.dumps(json.dumps(text))) == text


def test_keys_of_the_platform_are_apart(tree):
    tree.hyperparameters(
        {
            "epochs": "10",
            "optimizer": '"adam"',
            "sagemaker_program": '"train.py"',
            "sagemaker_container_log_level": "20",
            "_tuning_objective_metric": "validation:loss",
            "default_user_module_name": "user_script",
            "layers": [64, 32],
        }
    )
    hyperparameters = read_hyperparameters(tree.paths)
    assert hyperparameters.user == {"epochs": 10, "optimizer": "adam", "layers": [64, 32]}
    assert hyperparameters.framework == {
        "sagemaker_program": "train.py",
        "sagemaker_container_log_level": 20,
        "_tuning_objective_metric": "validation:loss",
        "default_user_module_name": "user_script",
    }
    assert hyperparameters.raw["optimizer"] == '"adam"'
    assert hyperparameters.raw["epochs"] == "10"
    assert hyperparameters.raw["layers"] == "[64, 32]"


@pytest.mark.parametrize("content", [None, "", "  \n", "{}"])
def test_missing_or_empty_file_means_none(tree, content):
    if content is not None:
        tree.hyperparameters(content)
    assert read_hyperparameters(tree.paths) == Hyperparameters()


def test_broken_file_is_named(tree):
    tree.hyperparameters('["epochs", 10]')
    with pytest.raises(ConfigError, match=r"hyperparameters\.json holds"):
        read_hyperparameters(tree.paths)
