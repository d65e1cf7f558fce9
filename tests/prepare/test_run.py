"""The run as a whole: killed and resumed, alone and with others, in constant memory, and what it says meanwhile."""

import json
import os
import pty
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from twofold.formats import csv

COMMAND = [sys.executable, "-P", "-m", "twofold.prepare"]
DEADLINE = 120

pytestmark = pytest.mark.procs


@pytest.fixture(scope="module")
def source(write_csv, rows, tmp_path_factory):
    """8 MB of CSV in two files."""
    return write_csv(tmp_path_factory.mktemp("source") / "csv", np.tile(rows, (25, 1)))


@pytest.fixture(scope="module")
def arguments(source):
    return (source, "--format", "recordio", "--shard-size", "80kB", "--validation", "0.2")


@pytest.fixture(scope="module")
def whole(arguments, prepare, tmp_path_factory, content_of):
    folder = tmp_path_factory.mktemp("whole") / "out"
    prepare(arguments[0], folder, *arguments[1:], "--workers", 1)
    return content_of(folder)


def start(*arguments):
    return subprocess.Popen([*COMMAND, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def wait_for(condition, process):
    deadline = time.monotonic() + DEADLINE
    while not condition() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def units_in(folder):
    journal = folder / ".prepare-000" / "journal"
    return journal.read_bytes().count(b"\n") - 1 if journal.exists() else -1


def test_the_number_of_workers_changes_nothing(arguments, prepare, whole, content_of, tmp_path):
    prepare(arguments[0], tmp_path / "out", *arguments[1:], "--workers", 3)
    assert content_of(tmp_path / "out") == whole


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_as_if_nothing_had_been(arguments, prepare, whole, content_of, tmp_path):
    chance, folder, killed = random.Random(4), tmp_path / "out", 0
    for units in (0, 3, 9):
        process = start(arguments[0], folder, *arguments[1:], "--workers", 2)
        wait_for(lambda: units_in(folder) >= units, process)  # noqa: B023 - called before the loop goes on
        time.sleep(chance.random() * 0.02)
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        process.stderr.close()
    assert killed == 3
    assert units_in(folder) >= 9
    assert not (folder / "train" / "index.json").exists()
    run = prepare(arguments[0], folder, *arguments[1:])
    assert "going on after" in run.log
    assert content_of(folder) == whole


def test_a_torn_journal_and_a_lost_shard_are_made_good(arguments, prepare, whole, content_of, tmp_path):
    folder = tmp_path / "out"
    process = start(arguments[0], folder, *arguments[1:], "--workers", 1)
    wait_for(lambda: units_in(folder) >= 3, process)
    process.kill()
    process.wait()
    process.stderr.close()
    with (folder / ".prepare-000" / "journal").open("ab") as journal:
        journal.write(b'{"unit": 7, "sha')
    (folder / "train" / "part-00001.rec").unlink()
    prepare(arguments[0], folder, *arguments[1:])
    assert content_of(folder) == whole


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_what_is_whole(number, arguments, tmp_path):
    folder = tmp_path / "out"
    process = start(arguments[0], folder, *arguments[1:], "--workers", 2)
    wait_for(lambda: units_in(folder) >= 2, process)
    process.send_signal(number)
    _, log = process.communicate(timeout=DEADLINE)
    assert process.returncode == 143, log
    assert f"{number.name} asked for the end" in log.decode()
    assert b"Traceback" not in log
    assert units_in(folder) >= 2
    assert not list(folder.rglob("*.partial"))


def test_other_arguments_or_another_input_are_refused(write_csv, rows, prepare, tmp_path):
    source, folder = write_csv(tmp_path / "in", rows[:500]), tmp_path / "out"
    source.joinpath("2.csv").write_text("1,2\n")
    prepare(source, folder, "--format", "recordio", "--shard-size", "2kB", expect=3)
    run = prepare(source, folder, "--format", "tfrecord", "--shard-size", "2kB", expect=2)
    assert "--format was recordio, now it is tfrecord" in run.log
    source.joinpath("2.csv").unlink()
    run = prepare(source, folder, "--format", "recordio", "--shard-size", "2kB", expect=2)
    assert "the input's file 2.csv has vanished" in run.log
    assert "--no-resume" in run.log
    prepare(source, folder, "--format", "recordio", "--shard-size", "2kB", "--no-resume")
    run = prepare(source, folder, "--format", "recordio", "--shard-size", "2kB", expect=2)
    assert "no run to go on with" in run.log


def test_shards_are_even_and_have_their_checksums(whole):
    import google_crc32c

    index = json.loads(whole["train/index.json"])
    sizes = [shard["bytes"] for shard in index["shards"]]
    assert max(sizes) < 1.15 * min(sizes)
    assert 0.6 * 80_000 < np.mean(sizes) <= 1.1 * 80_000
    for shard in index["shards"]:
        assert f"{google_crc32c.value(whole['train/' + shard['name']]):08x}" == shard["crc32c"]


def test_statistics_are_those_of_all_rows(rows, write_csv, prepare, index_of, tmp_path):
    table = rows.copy()
    table[:, 1] += 1e4  # where sums of squares would have no digits left
    write_csv(tmp_path / "in", table)
    prepare(tmp_path / "in", tmp_path / "out", "--format", "npy", "--shard-size", "9kB")
    columns = index_of(tmp_path / "out")["statistics"]["columns"]
    exact = table.astype(np.float64)
    np.testing.assert_allclose(columns["features"]["mean"], exact[:, 1:].mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(columns["features"]["std"], exact[:, 1:].std(axis=0), rtol=1e-10)
    assert columns["features"]["min"] == exact[:, 1:].min(axis=0).tolist()
    classes = index_of(tmp_path / "out")["statistics"]["classes"]
    values, counts = np.unique(table[:, 0], return_counts=True)
    assert [(entry["value"], entry["count"]) for entry in classes] == list(zip(values, counts, strict=True))


def test_the_split_does_not_depend_on_the_cut(rows, write_csv, prepare, read_back, tmp_path):
    write_csv(tmp_path / "a", rows, files=1)
    write_csv(tmp_path / "b", rows[::-1], files=3)
    sides = []
    for name, size in (("a", "30kB"), ("b", "7kB")):
        out = tmp_path / f"out-{name}"
        prepare(tmp_path / name, out, "--format", "recordio", "--shard-size", size, "--validation", "0.2")
        sides.append([{row.tobytes() for row in read_back(out / side)["features"]} for side in ("train", "validation")])
    assert sides[0] == sides[1]
    assert not sides[0][0] & sides[0][1]
    assert len(sides[0][1]) == pytest.approx(0.2 * len(rows), rel=0.15)


def test_progress_is_lines_in_a_log_and_a_bar_on_a_terminal(arguments, prepare, tmp_path):
    run = prepare(arguments[0], tmp_path / "a", *arguments[1:])
    assert "100% read" in run.log
    assert "\r" not in run.log
    assert "\x1b" not in run.log
    ours, theirs = pty.openpty()
    argv = [*COMMAND, *map(str, (arguments[0], tmp_path / "b", *arguments[1:]))]
    process = subprocess.Popen(argv, stderr=theirs, stdout=subprocess.DEVNULL, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    shown = b""
    while True:
        try:
            content = os.read(ours, 1 << 16)
        except OSError:  # Linux says so when the other end is closed
            break
        shown += content
    os.close(ours)
    assert process.wait() == 0
    assert b"\r" in shown
    assert b"100%" in shown


def test_memory_does_not_grow_with_the_input(tmp_path):
    block = csv.encode(np.random.default_rng(0).random((20_000, 20), dtype=np.float32))
    peaks = []
    for copies in (4, 24):
        source = tmp_path / f"in{copies}"
        source.mkdir()
        with (source / "a.csv").open("wb") as out:
            for _ in range(copies):
                out.write(block)
        process = start(
            source, tmp_path / f"out{copies}", "--format", "recordio", "--workers", "1", "--shard-size", "8MB"
        )
        peak = 0
        while process.poll() is None:
            peak = max(peak, sum(anonymous(pid) for pid in family(process.pid)))
            time.sleep(0.01)
        _, log = process.communicate()
        assert process.returncode == 0, log
        peaks.append(peak)
    assert peaks[1] < peaks[0] * 1.25 + (8 << 20), peaks


def family(pid):
    try:
        with Path(f"/proc/{pid}/task/{pid}/children").open() as file:
            return [pid, *map(int, file.read().split())]
    except OSError:
        return []


def anonymous(pid):
    try:
        with Path(f"/proc/{pid}/status").open() as file:
            return next((int(line.split()[1]) << 10 for line in file if line.startswith("RssAnon")), 0)
    except OSError:
        return 0
