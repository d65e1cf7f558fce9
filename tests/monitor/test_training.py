"""The baseline that training writes when it is asked to is the one that `monitor` makes of the same data."""

import json

import numpy as np
import pytest

pytestmark = pytest.mark.procs


def features_of(path):
    """Features by name; so few rows that sketches keep them all."""
    content = json.loads(path.read_text())
    return {part["name"]: part for part in content["features"]}


def sums_apart(features):
    """Features without what is summed up, and that: its last digit depends on how memory is aligned."""
    for part in features.values():
        sketch = part["numerical_statistics"]["distribution"]["kll"]["sketch"]
        sketch["data"] = [sorted(level) for level in sketch["data"]]  # merging turns them round
    parts = {name: part["numerical_statistics"] for name, part in features.items()}
    sums = {name: [part.pop(key) for key in ("mean", "sum", "std_dev")] for name, part in parts.items()}
    return features, sums


def test_training_writes_a_baseline(make_tree, run_verb, monitor, tmp_path):
    rows = np.random.default_rng(1).normal(size=(300, 4)).round(4)
    rows[:, 0] = rows[:, 1:].sum(axis=1)
    paths = make_tree({"training": {"a.csv": rows}}, epochs=1, hidden="4", baseline="true", export_onnx="false")
    run = run_verb("twofold.train", paths)
    written = paths.output_data / "baseline"
    assert f"baseline of 300 samples written to {written}" in run.log
    monitor("baseline", paths.channel("training"), tmp_path / "base")
    exact, sums = sums_apart(features_of(written / "statistics.json"))
    expected, expected_sums = sums_apart(features_of(tmp_path / "base" / "statistics.json"))
    assert exact == expected
    for name, values in expected_sums.items():
        assert sums[name] == pytest.approx(values)
    assert features_of(written / "constraints.json") == features_of(tmp_path / "base" / "constraints.json")


@pytest.mark.slow
def test_what_has_no_baseline_is_said(make_tree, run_verb):
    tokens = np.random.default_rng(1).integers(0, 20, (40, 9)).astype(np.int32)
    sizes = {"layers": 1, "heads": 1, "width": 8, "context": 8}
    paths = make_tree(
        {"training": {"a.npy": tokens}},
        model="gpt", epochs=1, batch_size=8, baseline="true", export_onnx="false", **sizes,
    )  # fmt: skip
    run = run_verb("twofold.train", paths)
    assert "no baseline is written" in run.log
    assert not (paths.output_data / "baseline").exists()
