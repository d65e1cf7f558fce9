"""Broken input: named by file and line, or left out and counted."""

import json

import numpy as np
import pytest
from twofold.formats import csv, images

pytestmark = pytest.mark.procs
SIZE = ("--format", "recordio", "--shard-size", "2kB")


@pytest.fixture
def broken(rows, tmp_path):
    """Two files; line 401 of the second has text where a number was."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.csv").write_bytes(csv.encode(rows[:500]))
    lines = csv.encode(rows[500:1000]).split(b"\n")
    lines[400] = b"1,2,oops,4,5,6,7,8,9"
    (folder / "b.csv").write_bytes(b"\n".join(lines))
    return folder


def test_a_broken_line_stops_the_run(broken, prepare, tmp_path):
    run = prepare(broken, tmp_path / "out", *SIZE, expect=3)
    assert "file b.csv: line 401, column 3 is 'oops', expected a number" in run.log
    assert not list((tmp_path / "out").rglob("*.partial"))


def test_a_broken_line_is_skipped_and_counted(broken, prepare, rows, read_back, index_of, tmp_path):
    run = prepare(broken, tmp_path / "out", *SIZE, "--on-bad-record", "skip")
    assert "skipped 1 broken records" in run.log
    assert "line 401, column 3" in run.log
    assert index_of(tmp_path / "out")["statistics"]["skipped"] == 1
    expected = np.delete(rows[:1000, 1:], 900, axis=0)
    np.testing.assert_array_equal(np.stack(read_back(tmp_path / "out")["features"]), expected)


@pytest.mark.parametrize("names", [(), tuple("labcdefgh")])
def test_empty_lines_are_no_rows(prepare, read_back, rows, tmp_path, names):
    lines = csv.encode(rows[:50]).replace(b"\n", b"\n\n")
    (tmp_path / "a.csv").write_bytes(b"".join([",".join(names).encode() + b"\n\n"][: len(names)]) + lines)
    assert "skipped" not in prepare(tmp_path / "a.csv", tmp_path / "out", "--format", "parquet").log
    found = read_back(tmp_path / "out")
    last = found["h"] if names else np.stack(found["features"])[:, -1]
    np.testing.assert_array_equal(np.asarray(last), rows[:50, -1])


def test_a_broken_json_line_is_skipped(prepare, read_back, tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"x": i}) + "\n" for i in range(5)) + "{nonsense\n")
    prepare(tmp_path / "a.jsonl", tmp_path / "out", "--format", "parquet", "--on-bad-record", "skip")
    assert np.array(read_back(tmp_path / "out")["x"]).tolist() == list(range(5))


def test_a_broken_image_is_named_or_skipped(prepare, read_back, tmp_path):
    folder = tmp_path / "in" / "cat"
    folder.mkdir(parents=True)
    (folder / "1.png").write_bytes(images.encode_png(np.zeros((4, 4, 3), np.uint8)))
    (folder / "2.png").write_bytes(images.encode_png(np.ones((4, 4, 3), np.uint8))[:45])
    run = prepare(tmp_path / "in", tmp_path / "out", "--format", "recordio", "--on-bad-record", "skip")
    assert "file cat/2.png" in run.log
    assert len(read_back(tmp_path / "out")["features"]) == 1
    run = prepare(tmp_path / "in", tmp_path / "out2", "--format", "recordio", expect=3)
    assert "file cat/2.png" in run.log


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--format", "recordio", "--shard-size", "huge"), 2, "--shard-size is 'huge'"),
        (("--format", "recordio", "--label", "nope"), 3, "No column 'nope'; there are: label, features"),
        ((), 2, "--format (PREPARE_FORMAT) is missing"),
        (("--format", "cake"), 2, "Invalid value for '--format'"),
    ],
)
def test_wrong_arguments_are_explained(arguments, code, text, broken, prepare, tmp_path):
    assert text in prepare(broken, tmp_path / "out", *arguments, expect=code).log


def test_input_that_is_not_there_or_empty_is_explained(prepare, tmp_path):
    assert "does not exist" in prepare(tmp_path / "no", tmp_path / "out", *SIZE, expect=3).log
    (tmp_path / "in").mkdir()
    assert "is empty" in prepare(tmp_path / "in", tmp_path / "out", *SIZE, expect=3).log
    assert "one within the other" in prepare(tmp_path / "in", tmp_path / "in" / "out", *SIZE, expect=2).log


def test_help_says_what_it_does(prepare):
    text = prepare("--help").log
    assert "even shards" in text
    assert "--on-bad-record" in text
