import json

import pytest
from twofold.contract.artifact import (
    Architecture,
    Manifest,
    Program,
    Signature,
    read_manifest,
    weights_path,
    write_manifest,
)
from twofold.errors import ModelError

MANIFEST = Manifest(
    task="classification",
    architecture=Architecture(name="mlp", arguments={"hidden": [64]}),
    input=Signature(shape=[64]),
    classes=["cat", "dog"],
    metrics={"validation:accuracy": 0.97},
)


def test_what_is_written_is_read(tmp_path):
    write_manifest(tmp_path, MANIFEST)
    assert read_manifest(tmp_path) == MANIFEST


def test_own_models_and_verified_programs_are_named(tmp_path):
    program = Program(opset=18, worst_error=2e-7, tolerance=1e-4)
    own = MANIFEST.model_copy(update={"code": "my_net.py", "onnx": program})
    write_manifest(tmp_path, own)
    assert read_manifest(tmp_path) == own
    assert program.file == "model.onnx"


def test_folders_without_the_newer_keys_are_read(tmp_path):
    content = json.loads(MANIFEST.model_dump_json())
    del content["code"], content["onnx"], content["input"]["dtype"]
    (tmp_path / "twofold.json").write_text(json.dumps(content))
    assert read_manifest(tmp_path) == MANIFEST


def test_keys_of_a_later_version_are_ignored(tmp_path):
    content = json.loads(MANIFEST.model_dump_json()) | {"something_new": {"a": 1}}
    (tmp_path / "twofold.json").write_text(json.dumps(content))
    assert read_manifest(tmp_path) == MANIFEST


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(ModelError, match=r"No twofold\.json in .*empty or missing.*Check ModelDataUrl"):
        read_manifest(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="empty or missing"):
        read_manifest(tmp_path)
    (tmp_path / "model.pth").touch()
    with pytest.raises(ModelError, match=r"found: model\.pth"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "clustering"}, "task: "),
        ({"input": {"shape": []}}, r"input\.shape: "),
        ({"architecture": {}}, r"architecture\.name: "),
        ({"input": {"shape": [64], "dtype": "float16"}}, r"input\.dtype: "),
        ({"onnx": {"opset": 18, "worst_error": 1e-7}}, r"onnx\.tolerance: "),
        ({"format_version": 99}, "format_version is 99, this image reads up to 1"),
    ],
)
def test_broken_manifest_is_named(tmp_path, change, message):
    content = json.loads(MANIFEST.model_dump_json()) | change
    (tmp_path / "twofold.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match=rf"twofold\.json: {message}"):
        read_manifest(tmp_path)


def test_weights_beside_the_manifest(tmp_path):
    with pytest.raises(ModelError, match=r"No weights\.safetensors"):
        weights_path(tmp_path)
    (tmp_path / "weights.safetensors").touch()
    assert weights_path(tmp_path) == tmp_path / "weights.safetensors"
