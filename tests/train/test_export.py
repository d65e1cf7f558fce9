"""The artifact is whole, readable by anybody, and what `contract.artifact` reads."""

import os
import stat
from pathlib import Path

import torch
from safetensors.torch import load_file
from twofold.contract.artifact import Architecture, read_manifest, weights_path
from twofold.models.table import build
from twofold.train.export import write_artifact
from twofold.train.tasks import Classification, Regression

ARCHITECTURE = Architecture(name="mlp", arguments={"features": 3, "outputs": 2, "hidden": [4]})


def test_reads_back_as_written(tmp_path: Path) -> None:
    module = build(ARCHITECTURE.name, ARCHITECTURE.arguments)
    write_artifact(
        tmp_path / "model", module, ARCHITECTURE, Classification((1, 5)), {"validation:loss": 0.5}, features=3
    )
    manifest = read_manifest(tmp_path / "model")
    assert (manifest.task, manifest.classes, manifest.input.shape) == ("classification", [1, 5], [3])
    assert manifest.metrics == {"validation:loss": 0.5}
    again = build(manifest.architecture.name, manifest.architecture.arguments)
    again.load_state_dict(load_file(weights_path(tmp_path / "model")))
    rows = torch.randn(5, 3)
    assert torch.equal(again(rows), module(rows))


def test_regression_has_no_classes(tmp_path: Path) -> None:
    architecture = Architecture(name="linear", arguments={"features": 3, "outputs": 1})
    write_artifact(tmp_path, build("linear", architecture.arguments), architecture, Regression(1.0), {}, features=3)
    assert read_manifest(tmp_path).classes is None


def test_anybody_may_read_the_files(tmp_path: Path) -> None:
    """An endpoint can run as another user than the job did; a library's private mode would lock it out."""
    before = os.umask(0o022)
    try:
        write_artifact(
            tmp_path, build("mlp", ARCHITECTURE.arguments), ARCHITECTURE, Classification((0, 1)), {}, features=3
        )
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o644}
