import os
import subprocess
import sys
import time

from twofold.train.heartbeat import Heartbeat, read_beats


def test_a_rank_is_read_from_its_file(tmp_path):
    before = time.monotonic()
    heart = Heartbeat(tmp_path, 3)
    first = read_beats(tmp_path)[3]
    assert (first.count, first.step, first.pid, first.phase, first.median) == (0, 0, os.getpid(), "start", None)
    assert before <= first.time <= time.monotonic()
    heart.ready()
    heart.beat(7)
    assert (read_beats(tmp_path)[3].count, read_beats(tmp_path)[3].step, read_beats(tmp_path)[3].phase) == (
        1,
        7,
        "step",
    )
    heart.enter("save")
    assert read_beats(tmp_path)[3].phase == "save"


def test_the_median_is_of_the_last_steps_of_the_phase(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    heart = Heartbeat(tmp_path, 0)
    now[0] += 50  # the first batch takes its time
    heart.ready()
    for step in range(1, 4):
        now[0] += 2.0
        heart.beat(step)
    assert read_beats(tmp_path)[0].median == 2.0
    heart.enter("evaluate")
    assert read_beats(tmp_path)[0].median is None
    for _ in range(3):
        now[0] += 0.5
        heart.beat(3, "evaluate")
    assert read_beats(tmp_path)[0].median == 0.5
    heart.enter("step")
    for step in range(4, 104):
        now[0] += 9.0
        heart.beat(step)
    assert read_beats(tmp_path)[0].median == 9.0


def test_two_steps_tell_nothing(tmp_path):
    heart = Heartbeat(tmp_path, 0)
    heart.ready()
    heart.beat(1)
    heart.beat(2)
    assert read_beats(tmp_path)[0].median is None


def test_a_file_that_is_being_made_or_torn_is_left_out(tmp_path):
    Heartbeat(tmp_path, 1)
    (tmp_path / "rank-0.beat").write_bytes(b"")
    torn = bytearray((tmp_path / "rank-1.beat").read_bytes())
    torn[0] = 9
    (tmp_path / "rank-1.beat").write_bytes(torn)
    assert read_beats(tmp_path) == {}


def test_another_process_is_read_while_it_runs(tmp_path):
    code = (
        "import sys; from pathlib import Path; from twofold.train.heartbeat import Heartbeat\n"
        "heart = Heartbeat(Path(sys.argv[1]), 0); heart.beat(5); print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as rank:
        rank.stdout.readline()
        found = read_beats(tmp_path)[0]
        assert (found.pid, found.step) == (rank.pid, 5)
