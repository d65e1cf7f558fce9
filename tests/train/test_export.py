import pytest
import torch
from safetensors.torch import load_file
from twofold.contract.artifact import Architecture, Signature, read_manifest, weights_path
from twofold.errors import PlatformError
from twofold.models.table import build
from twofold.train.architecture import Blueprint
from twofold.train.export import write_artifact
from twofold.train.tasks import Classification, Regression

ARCHITECTURE = Architecture(name="linear", arguments={"features": 2, "outputs": 3})


def write(folder, task=None):
    module = build(ARCHITECTURE.name, ARCHITECTURE.arguments)
    blueprint = Blueprint(ARCHITECTURE, Signature(shape=[2]))
    write_artifact(folder, module, blueprint, task or Classification((4, 5, 7)), {"validation:loss": 0.5})
    return module


def test_an_artifact_is_all_that_is_needed_to_answer(tmp_path):
    module = write(tmp_path / "model")
    manifest = read_manifest(tmp_path / "model")
    again = build(manifest.architecture.name, manifest.architecture.arguments)
    again.load_state_dict(load_file(weights_path(tmp_path / "model")))
    rows = torch.randn(3, *manifest.input.shape)
    assert torch.equal(again(rows), module(rows))
    assert manifest.task == "classification"
    assert manifest.classes == [4, 5, 7]
    assert manifest.metrics == {"validation:loss": 0.5}
    assert {"twofold", "torch", "python"} == manifest.versions.keys()


def test_a_regression_has_no_classes(tmp_path):
    write(tmp_path, Regression(1.0))
    assert read_manifest(tmp_path).classes is None


def test_nothing_else_is_written(tmp_path):
    write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["twofold.json", "weights.safetensors"]


def test_a_full_disk_leaves_no_manifest_of_older_weights(tmp_path, files_of_at_most):
    write(tmp_path)
    with files_of_at_most(20), pytest.raises(PlatformError, match=r"cannot be written to .*VolumeSizeInGB"):
        write(tmp_path)
    assert list(tmp_path.iterdir()) == [], "nor half of the weights, in whose room the failure file goes"


def test_weights_can_be_read_by_other_users(tmp_path):
    write(tmp_path)
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_the_platforms_fault(tmp_path):
    (tmp_path / "model").write_text("a file")
    with pytest.raises(PlatformError, match="The model cannot be written"):
        write(tmp_path / "model")
