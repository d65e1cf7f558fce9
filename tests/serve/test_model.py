import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from twofold.contract.artifact import Architecture, Signature, read_manifest
from twofold.errors import ConfigError, ModelError, RequestError
from twofold.serve.engine import EngineSettings
from twofold.serve.model import Model, load


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
    module = model.engine._module
    assert not any(part.training for part in module.modules())
    assert not any(parameter.requires_grad for parameter in module.parameters())


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


def with_input(artifact, **signature):
    """A model whose manifest says so; its engine is not asked."""
    manifest = read_manifest(artifact.folder)
    changes = {"input": Signature(**signature)}
    if signature["dtype"] == "int64":
        changes["architecture"] = Architecture(name="gpt", arguments={"vocabulary": 10})
    return Model(manifest.model_copy(update=changes), engine=None)


@pytest.mark.parametrize(
    ("dtype", "value", "words"),
    [
        ("int64", 10, r"Row 1, value \[2\] is 10. Expected whole numbers from 0 to 9.*tokens"),
        ("int64", -1, r"is -1. "),
        ("int64", 1.5, r"is 1.5. "),
        ("uint8", 256, r"is 256. Expected whole numbers from 0 to 255.*pixels"),
        ("uint8", np.inf, r"is inf. "),
    ],
)
def test_values_that_the_model_cannot_take_are_refused_with_their_place(classifier, dtype, value, words):
    rows = np.ones((2, 4), dtype=np.float32)
    model = with_input(classifier, shape=[4], dtype=dtype)
    model.check(rows)
    rows[1, 2] = value
    with pytest.raises(RequestError, match=words):
        model.check(rows)


def test_rows_of_numbers_may_hold_any_number(classifier):
    with_input(classifier, shape=[4], dtype="float32").check(np.full((2, 4), -1e30))


def test_a_verified_program_is_run_by_onnx_runtime_unless_told_otherwise(program, classifier):
    assert load(program.folder).engine.name == "ONNX Runtime"
    assert load(program.folder, EngineSettings(engine="onnx")).engine.name == "ONNX Runtime"
    for settings in (
        EngineSettings(engine="pytorch"),
        EngineSettings(device="cpu"),
        EngineSettings(precision="bf16"),
    ):
        assert load(program.folder, settings).engine.name == "PyTorch"
    assert load(classifier.folder).engine.name == "PyTorch"


def test_a_program_that_is_not_there_cannot_be_asked_for(classifier):
    with pytest.raises(ConfigError, match="no verified ONNX program"):
        load(classifier.folder, EngineSettings(engine="onnx"))


@pytest.mark.parametrize("count", [1, 2, 17, 5000])
def test_both_engines_answer_within_the_stated_error(program, count):
    rows = np.random.default_rng(count).normal(size=(count, 4)).astype(np.float32) * 5
    onnx, torch_ = (load(program.folder, EngineSettings(engine=name)).predict(rows) for name in ("onnx", "pytorch"))
    assert onnx.dtype == torch_.dtype == np.float32
    np.testing.assert_allclose(onnx, torch_, atol=read_manifest(program.folder).onnx.tolerance)
    np.testing.assert_allclose(onnx, program.answers(rows), atol=1e-5)


def test_a_program_needs_no_torch(program):
    code = (
        "import sys; from pathlib import Path; import numpy as np; from twofold.serve.model import load\n"
        "import twofold.serve.app, twofold.serve.server\n"
        "load(Path(sys.argv[1])).predict(np.zeros((2, 4), np.float32))\n"
        "print(sorted({'torch', 'onnx', 'onnxscript', 'pyarrow', 'PIL', 'sagemaker_inference'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, program.folder], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]"]
