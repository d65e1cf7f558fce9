"""Training data of several formats becomes the same columns."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from twofold.baseline.summary import Summary
from twofold.errors import DataError
from twofold.monitor.tables import read_blocks

ROWS = np.random.default_rng(5).normal(size=(300, 3)).astype(np.float32)


def summarise(blocks):
    summary = Summary()
    for block, rows in blocks:
        summary.add(block, rows)
    return summary


def write(path, kind):
    if kind == "csv":
        np.savetxt(path / "a.csv", ROWS, delimiter=",", fmt="%.9g")
    elif kind == "npz":
        np.savez(path / "a.npz", label=ROWS[:, 0], features=ROWS[:, 1:])
    elif kind == "jsonl":
        lines = [json.dumps({"label": float(row[0]), "features": row[1:].tolist()}) for row in ROWS]
        (path / "a.jsonl").write_text("\n".join(lines))
    else:
        table = {"label": ROWS[:, 0], "features": list(ROWS[:, 1:])}
        pq.write_table(pa.table(table), path / "a.parquet")


@pytest.mark.parametrize("kind", ["csv", "npz", "jsonl", "parquet"])
def test_vectors_become_columns(tmp_path, kind):
    write(tmp_path, kind)
    summary = summarise(read_blocks(tmp_path))
    assert summary.rows == 300
    assert list(summary.features) == ["label", "features_0", "features_1"]
    for name, column in zip(summary.features, ROWS.T, strict=True):
        assert summary.features[name].numbers.moments.mean == pytest.approx(float(column.mean()), abs=1e-6)


def test_a_file_of_named_numbers_and_texts(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('age,city\n41,"Bern"\n7,Chur\n')
    summary = summarise(read_blocks(path))
    assert summary.features["age"].numbers.moments.maximum == 41
    assert summary.features["city"].texts.categories == {"Bern": 1, "Chur": 1}


def test_images_have_no_statistics(tmp_path, caplog):
    np.save(tmp_path / "a.npy", np.zeros((3, 40, 40), np.uint8))
    assert summarise(read_blocks(tmp_path)).features == {}
    assert caplog.text.count("has no statistics") == 1


def test_broken_data_is_named(tmp_path):
    (tmp_path / "a.csv").write_text("1,2\n3,x\n")
    with pytest.raises(DataError, match=r"a\.csv: line 2, column 2"):
        summarise(read_blocks(tmp_path))
    with pytest.raises(DataError, match="does not exist"):
        summarise(read_blocks(tmp_path / "elsewhere"))
