"""Jobs that hang for real: who is behind, where, and what the others wait in."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from twofold.train import stacks
from twofold.train.hang import HangWatch
from twofold.train.heartbeat import Heartbeat
from twofold.train.reports import first

TRAIN = "twofold.train"
DATA = {"training": {"a.csv": "0,1\n1,2\n" * 40}}
ENDLESS = {"batch_size": 8, "epochs": 1_000_000, "processes_per_host": 2}
HANGS = """
import os, time
import torch

class Net(torch.nn.Module):
    def __init__(self, features, outputs):
        super().__init__()
        self.layer = torch.nn.Linear(features, outputs)
        self.calls = 0

    def forward(self, rows):
        self.calls += self.training
        while os.environ.get("RANK") == "1" and self.calls > 20:
            time.sleep(0.1)
        return self.layer(rows)

def build(features, outputs):
    return Net(features, outputs)
"""


@pytest.mark.slow
@pytest.mark.procs
def test_a_rank_that_hangs_in_the_users_code_is_named_with_its_line(make_tree, run_verb):
    paths = make_tree(DATA, **ENDLESS, model="net.py:build", hang_timeout=8)
    paths.code.mkdir()
    (paths.code / "net.py").write_text(HANGS)
    run = run_verb(TRAIN, paths, expect=5)
    assert run.failure.startswith("user code: rank 1 hung in step 21: no step for ")
    assert "/net.py:1" in run.failure
    assert "forward." in run.failure
    assert "Waiting for it: rank 0, in " in run.failure
    full = (run.paths.output_data / "failure" / "localhost.txt").read_text()
    assert "stacks-rank-0\nrank 0, step 20, step, waits in " in full
    assert "stacks-rank-1\nrank 1, step 20, step, is at " in full


def children_of(pid):
    """Process ids below a process, at any depth."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *children_of(child)]
    return found


def ranks_of(run):
    """Process ids of the ranks of a job, by rank."""
    ranks = {}
    for pid in children_of(run.process.pid):
        if b"twofold.train.program" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[-3:]:
            environ = dict(pair.partition(b"=")[::2] for pair in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
            if b"RANK" in environ:  # the agent has the same words in its command
                ranks[int(environ[b"RANK"])] = pid
    return ranks


@pytest.mark.slow
@pytest.mark.procs
def test_a_frozen_rank_is_named_within_90_s_as_shipped(make_tree, start_verb):
    """With no setting: the least time without a step is a minute."""
    run = start_verb(TRAIN, make_tree(DATA, **ENDLESS))
    run.wait_for("epoch=2 ")
    frozen = ranks_of(run)[1]
    os.kill(frozen, signal.SIGSTOP)
    started = time.monotonic()
    assert run.wait() == 5, run.log
    assert time.monotonic() - started < 90
    assert run.failure.startswith("platform: rank 1 hung in step ")
    assert "its process is stopped (SIGSTOP)" in run.failure
    assert "Waiting for it: rank 0, in " in run.failure
    assert not Path(f"/proc/{frozen}").exists()


class Child:
    """A process that stands for a rank, in whose name heartbeats are written."""

    def __init__(self, directory, rank, code):
        self.process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        self.process.stdout.readline()
        self.heart = Heartbeat(directory, rank)
        self.heart._pid = self.process.pid
        self.heart.enter("step")

    def beat(self, times):
        for step in range(1, times + 1):
            self.heart.beat(step)


@pytest.fixture
def child(tmp_path):
    """child(rank, code) -> a process that has said it is ready."""
    started = []

    def start(rank, code):
        started.append(Child(tmp_path, rank, f"import time\n{code}"))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()
        one.process.stdout.close()


SLEEPS = "def in_vain():\n    print(flush=True)\n    time.sleep(1000)\nin_vain()\n"


def test_a_single_rank_that_makes_no_step_is_named(tmp_path, child, hung_within):
    rank = child(0, SLEEPS)
    watch = HangWatch(tmp_path, timeout_s=0.2, hosts=1)
    assert not watch()
    rank.beat(5)
    assert hung_within(watch)
    found = first(tmp_path)
    assert found.message.startswith(("user code: rank 0 hung in step 6", "platform: rank 0 hung in step 6"))
    assert "Raise 'hang_timeout'" in found.message
    assert found.exit_code == 5
    assert (tmp_path / "stacks-rank-0.txt").read_text().startswith("rank 0, step 5, step, is at ")


@pytest.mark.parametrize("phase", ["start", "save", "end"])
def test_what_takes_as_long_as_it_takes_is_no_hang_unless_the_process_is_stopped(tmp_path, child, phase, hung_within):
    rank = child(0, SLEEPS)
    rank.beat(5)
    rank.heart.enter(phase)
    watch = HangWatch(tmp_path, timeout_s=0.1, hosts=1)
    assert not hung_within(watch, seconds=0.5)
    rank.process.send_signal(signal.SIGSTOP)
    assert hung_within(watch)
    assert first(tmp_path).message.startswith("platform: rank 0 hung in step 6")
    assert "its process is stopped (SIGSTOP)" in first(tmp_path).message


def test_a_model_that_is_compiled_has_its_time(tmp_path, child, monkeypatch, hung_within):
    child(0, SLEEPS).beat(5)
    compiling = stacks.Stacks((stacks.Frame("/x/torch/_inductor/codecache.py", 1, "compile"),))
    monkeypatch.setattr(stacks, "take", lambda *_: compiling)
    assert not hung_within(HangWatch(tmp_path, timeout_s=0.1, hosts=1), seconds=0.5)


@pytest.mark.slow
def test_a_host_that_waits_for_another_gives_it_time_to_say_why(tmp_path, child, monkeypatch, hung_within):
    child(0, SLEEPS).beat(5)
    waiting = stacks.Stacks((stacks.Frame("/x/torch/distributed/distributed_c10d.py", 7, "all_reduce"),))
    monkeypatch.setattr(stacks, "take", lambda *_: waiting)
    watch = HangWatch(tmp_path, timeout_s=0.3, hosts=2)
    started = time.monotonic()
    assert hung_within(watch)
    assert time.monotonic() - started >= 3.0 - 0.1
    assert first(tmp_path).message.startswith("network: no step for 3 s")
    assert "every rank of this host waits in all_reduce" in first(tmp_path).message


def test_ranks_that_are_gone_cost_their_stacks_only(tmp_path, child, hung_within):
    rank = child(0, SLEEPS)
    rank.beat(5)
    rank.process.kill()
    rank.process.wait()
    assert hung_within(HangWatch(tmp_path, timeout_s=0.1, hosts=1))
