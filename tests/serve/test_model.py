import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from twofold.errors import ModelError
from twofold.serve.model import load


@pytest.fixture
def folder(artifact):
    return artifact.folder


def rewrite(folder, **changes):
    path = folder / "twofold.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_classifier_answers_the_probabilities_of_pytorch(classifier):
    model = load(classifier.folder)
    rows = np.random.default_rng(0).normal(size=(17, 4)).astype(np.float32)
    predictions = model.predict(rows)
    assert predictions.dtype == np.float32
    np.testing.assert_allclose(predictions, classifier.answers(rows), atol=1e-6)
    assert model.labels(predictions) == classifier.labels(rows)


def test_a_regression_answers_one_number_a_row(regressor):
    model = load(regressor.folder)
    rows = np.eye(4, dtype=np.float32)
    np.testing.assert_allclose(model.predict(rows), regressor.answers(rows), atol=1e-6)
    assert model.labels(model.predict(rows)) is None


def test_many_rows_are_answered_in_order_whatever_the_parts(classifier):
    rows = np.random.default_rng(0).normal(size=(10_001, 4)).astype(np.float32)
    np.testing.assert_allclose(load(classifier.folder).predict(rows), classifier.answers(rows), atol=1e-6)


def test_weights_are_frozen_and_dropout_is_off(folder):
    model = load(folder)
    assert not model._module.training
    assert not any(parameter.requires_grad for parameter in model._module.parameters())


def test_weights_of_another_model_are_refused_by_name(folder):
    tensors = load_file(folder / "weights.safetensors")
    tensors["extra"] = torch.zeros(1)
    tensors["1.weight"] = torch.zeros(8, 5)
    tensors["1.bias"] = tensors["1.bias"].double()
    del tensors["3.bias"]
    save_file(tensors, folder / "weights.safetensors")
    with pytest.raises(ModelError, match="does not fit the manifest") as error:
        load(folder)
    for words in (
        "3.bias is missing",
        "extra is unexpected",
        "1.weight is float32[8, 5], expected float32[8, 4]",
        "1.bias is float64[8], expected float32[8]",
    ):
        assert words in str(error.value)


@pytest.mark.parametrize("data", [b"", b"not safetensors at all", (1 << 40).to_bytes(8, "little") + b"{}"])
def test_broken_weights_are_refused(folder, data):
    (folder / "weights.safetensors").write_bytes(data)
    with pytest.raises(ModelError, match=r"weights.safetensors cannot be read"):
        load(folder)


def test_missing_weights_are_refused(folder):
    (folder / "weights.safetensors").unlink()
    with pytest.raises(ModelError, match=r"No weights.safetensors"):
        load(folder)


@pytest.mark.parametrize(
    "arguments",
    [
        {"features": -4, "outputs": 3, "hidden": [8]},
        {"features": "4", "outputs": 3, "hidden": [8]},
        {"features": 4, "outputs": 3},
        {"features": 4, "outputs": 3, "hidden": 8},
        {"features": 4, "outputs": 3, "hidden": [8], "dropout": 2},
        {"features": 4, "outputs": 3, "hidden": [8], "depth": 2},
    ],
)
def test_arguments_that_build_no_model_are_refused(folder, arguments):
    rewrite(folder, architecture={"name": "mlp", "arguments": arguments})
    with pytest.raises(ModelError, match="mlp"):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input": {"shape": [5]}}, r"cannot answer a row of shape \[5\]"),
        ({"classes": [0, 1]}, r"shape \[1, 3\], expected \[1, 2\]"),
        ({"classes": None}, r"expected \[1, 0\]"),
        ({"task": "regression"}, r"shape \[1, 3\], expected \[1\]"),
    ],
)
def test_a_manifest_that_does_not_tell_the_truth_is_refused(folder, changes, words):
    rewrite(folder, **changes)
    with pytest.raises(ModelError, match=words):
        load(folder)
