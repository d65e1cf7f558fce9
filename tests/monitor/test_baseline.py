"""`monitor baseline` as a process."""

import numpy as np
import pytest

pytestmark = pytest.mark.procs


def test_a_baseline(monitor, read_json, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    np.savetxt(data / "a.csv", np.random.default_rng(1).normal(size=(500, 4)), delimiter=",")
    run = monitor("baseline", data, tmp_path / "out")
    assert "Completed: baseline of 500 rows and 4 features" in run.log
    assert read_json(tmp_path / "out" / "statistics.json")["dataset"]["item_count"] == 500
    assert len(read_json(tmp_path / "out" / "constraints.json")["features"]) == 4


def test_no_row_is_an_error(monitor, tmp_path):
    (tmp_path / "a.csv").write_text("age,city\n")
    run = monitor("baseline", tmp_path / "a.csv", tmp_path / "out", expect=3)
    assert "data: " in run.log
