"""Scripts that hang for real, and scripts that only look like it: who is named, and who is left alone."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from twofold.errors import ConfigError
from twofold.train import reports, script_hang
from twofold.train.pulse import read_pulses
from twofold.train.script_hang import SETTING, ScriptWatch, timeout_of

TRAIN = "twofold.train"
DEADLINE = 60


class Ranks:
    """Processes of scripts as torchrun starts them."""

    def __init__(self, folder, until):
        self.folder, self.scratch, self._until = folder, folder / "scratch", until
        self.scratch.mkdir()
        self.processes = []

    def start(self, source, world=1, name="train.py", **environ):
        """Start one more rank, with a collective that blocks as gloo does and one that looks around meanwhile."""
        rank = len(self.processes)
        collectives = self.folder / "torch" / "distributed" / "distributed_c10d.py"
        collectives.parent.mkdir(parents=True, exist_ok=True)
        collectives.write_text(COLLECTIVES)
        script = self.folder / f"{rank}-{name}"
        script.write_text(source)
        command = [sys.executable if name.endswith(".py") else "bash", script.name]
        variables = {"TWOFOLD_SCRATCH": str(self.scratch), "RANK": str(rank), "WORLD_SIZE": str(world)}
        with (self.folder / f"{rank}.log").open("wb") as log:
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-P", "-m", "twofold.train.script_rank", self.folder, *command],
                    env={**os.environ, **variables, "PYTHON": sys.executable, **environ},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )
        if "MASTER_PORT" not in environ:
            self.wait(rank)

    def wait(self, rank):
        """Wait until a rank has said that it is ready."""
        self._until(lambda: "ready" in (self.folder / f"{rank}.log").read_text())

    def pid(self, rank=0):
        """Process of a script itself."""
        return read_pulses(self.scratch)[rank].pid

    @property
    def found(self):
        """The report of the watch, or None."""
        return reports.first(self.scratch)


COLLECTIVES = """
import os, time

def all_reduce():
    reader, writer = os.pipe()
    reader_of_nothing = os.read(reader, 1)

def broadcast_of_one_who_asks():
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    while True:
        time.sleep(0.02)
"""
COMMUNICATES = "import sys\nsys.path.insert(0, 'torch/distributed')\nimport distributed_c10d as dist\n"
READY = "import os, sys, time\nprint('ready', flush=True)\n"
SLEEPS = f"{READY}def recover():\n    time.sleep(1000)\nrecover()\n"
WAITS = f"{COMMUNICATES}{READY}dist.all_reduce()\n"
ASKS = f"{COMMUNICATES}{READY}dist.broadcast_of_one_who_asks()\n"
WORKS = f"{READY}while True: pass\n"
RAISES_ALONE = """
import os, torch, torch.distributed as dist
dist.init_process_group("gloo")
dist.all_reduce(torch.zeros(1))
print("ready", flush=True)

def recover():
    while True: signal.pause()

import signal
try:
    if dist.get_rank() == 1:
        raise ValueError("only rank 1")
    dist.all_reduce(torch.zeros(1))
except ValueError:
    recover()
"""
LOADS = """
import os, torch

class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 100

    def __getitem__(self, index):
        while index == 50:
            os.read(os.pipe()[0], 1)
        return index

print("ready", flush=True)
for _ in torch.utils.data.DataLoader(Data(), num_workers=2):
    pass
"""


@pytest.fixture
def ranks(tmp_path, until):
    started = Ranks(tmp_path, until)
    yield started
    for process in started.processes:
        process.kill()
        process.wait()
    for pulse in read_pulses(started.scratch).values():
        os.killpg(pulse.pid, signal.SIGKILL)


@pytest.fixture
def watch(ranks):
    """watch(timeout_s, hosts=1, gpus_work=...) -> a watch of those ranks."""

    def make(timeout_s, *, hosts=1, gpus_work=lambda: False):
        return ScriptWatch(ranks.scratch, timeout_s=timeout_s, hosts=hosts, gpus_work=gpus_work)

    return make


@pytest.fixture
def short(monkeypatch):
    """The default bound, which asks for a proof, is a moment."""
    monkeypatch.setattr(script_hang, "DEFAULT_S", 0.6)


@pytest.mark.usefixtures("short")
def test_a_rank_that_leaves_the_others_to_wait_is_named(ranks, watch, hung_within):
    ranks.start(WAITS, world=2)
    ranks.start(SLEEPS, world=2)
    assert hung_within(watch(None), DEADLINE)
    message = ranks.found.message
    assert message.startswith("user code: rank 1 hung: no output and no work for ")
    assert f"it is at {ranks.folder}/1-train.py:4 in recover. " in message
    assert "Waiting for it: rank 0, in all_reduce (" in message
    assert (ranks.found.exit_code, ranks.found.peer) == (5, False)
    stack = (ranks.scratch / "stacks-rank-0.txt").read_text()
    assert stack.startswith("rank 0 waits in all_reduce ")


@pytest.mark.parametrize(
    "scripts", [[SLEEPS, SLEEPS, ASKS], [WAITS, WORKS]], ids=["sleep, or ask again and again", "one works"]
)
@pytest.mark.usefixtures("short")
def test_who_may_wait_on_purpose_is_left_alone(ranks, watch, scripts, caplog, hung_within):
    for script in scripts:
        ranks.start(script, world=len(scripts))
    assert not hung_within(watch(None), 1.0)
    assert ranks.found is None
    assert ("It may wait on purpose: the job goes on." in caplog.text) is (WORKS not in scripts)


def test_what_only_idles_ends_where_the_job_has_said_so(ranks, watch, caplog, hung_within):
    ranks.start(SLEEPS)
    assert hung_within(watch(0.6), DEADLINE)
    assert ranks.found.message.startswith("user code: the script hung: no output and no work for ")
    assert "The job ends after 0.6 s of this." in caplog.text


def test_a_stopped_rank_is_named_though_others_work(ranks, watch, hung_within):
    ranks.start(WORKS, world=2)
    ranks.start(WORKS, world=2)
    look = watch(1.0)
    assert not hung_within(look, 0.5)
    os.kill(ranks.pid(1), signal.SIGSTOP)
    assert hung_within(look, DEADLINE)
    assert ranks.found.message.startswith("platform: rank 1 hung: its process was stopped (SIGSTOP) ")


def test_what_a_shell_runs_is_found(ranks, watch, hung_within):
    ranks.start('"$PYTHON" -c "import time; print(\'ready\', flush=True); time.sleep(1000)"\necho\n', name="train.sh")
    assert hung_within(watch(1.0), DEADLINE)
    assert "it is at <string>:1 in <module>" in ranks.found.message


def test_a_gpu_at_work_is_a_sign_of_life(ranks, watch, hung_within):
    ranks.start(SLEEPS)
    assert not hung_within(watch(0.4, gpus_work=lambda: True), 0.8)


def test_where_a_silent_script_works_is_kept_until_it_speaks(ranks, watch, monkeypatch, until):
    monkeypatch.setattr(script_hang, "_FORGET_S", 0.0)
    ranks.start(f"import signal\nsignal.signal(10, lambda *_: print('on'))\n{WORKS}")
    look = watch(1.0)
    kept = ranks.scratch / "stacks-rank-0.txt"
    until(lambda: look() or kept.exists())
    assert kept.read_text().startswith(f"rank 0 is at {ranks.folder}/0-train.py:5 in <module>, ")
    assert ranks.found is None
    os.kill(ranks.pid(), signal.SIGUSR1)
    until(lambda: look() or not kept.exists())


def test_output_is_a_sign_of_life_and_takes_back_what_was_found(ranks, watch, monkeypatch, until):
    monkeypatch.setattr(script_hang, "_FORGET_S", 0.0)
    ranks.start(f"{COMMUNICATES}{READY}import signal\nsignal.signal(10, lambda *_: print('on'))\ndist.all_reduce()\n")
    look = watch(2.0)
    until(lambda: look() or ranks.found)
    assert ranks.found.peer
    assert list(ranks.scratch.glob("stacks-*"))
    os.kill(ranks.pid(), signal.SIGUSR1)
    until(lambda: look() or not ranks.found)


@pytest.mark.slow
@pytest.mark.usefixtures("short")
def test_where_all_ranks_wait_another_host_is_left_to_say_why(ranks, watch, caplog, hung_within):
    ranks.start(WAITS)
    assert not hung_within(watch(None, hosts=2), 1.2)
    assert "They wait for another host." in caplog.text
    assert ranks.found is None


@pytest.mark.parametrize(("text", "seconds"), [(None, None), ("", None), ("0", 0.0), ("90", 90.0), ("1.5", 1.5)])
def test_the_bound_is_the_jobs(text, seconds):
    assert timeout_of({} if text is None else {SETTING: text}) == seconds


@pytest.mark.parametrize("text", ["-1", "inf", "nan", "soon"])
def test_a_bound_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match=f"TWOFOLD_HANG_TIMEOUT is '{text}'. Expected seconds"):
        timeout_of({SETTING: text})


@pytest.fixture
def job(make_tree):
    """job(script): a tree with a script on two processes."""

    def make(script):
        paths = make_tree(
            {"training": {"a.csv": "0,1\n"}}, sagemaker_program="train.py", sagemaker_mpi_num_of_processes_per_host=2
        )
        paths.code.mkdir()
        (paths.code / "train.py").write_text(script)
        return paths

    return make


@pytest.mark.slow
@pytest.mark.procs
def test_the_rank_that_raised_inside_a_try_is_named_not_the_one_in_a_collective(job, run_verb):
    run = run_verb(TRAIN, job(RAISES_ALONE), expect=5, environ={SETTING: "2"})
    assert run.failure.startswith("user code: rank 1 hung: no output and no work for ")
    assert f"it is at {run.paths.code}/train.py:8 in recover. " in run.failure
    assert "Waiting for it: rank 0, in all_reduce (" in run.failure
    full = (run.paths.output_data / "failure" / "localhost.txt").read_text()
    assert "stacks-rank-0\nrank 0 waits in all_reduce (" in full
    assert "stacks-rank-1\nrank 1 is at " in full


JOINS = """
import time, torch, torch.distributed as dist
dist.init_process_group("gloo")
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 2))
dist.barrier()
print("ready", flush=True)
if dist.get_rank() == 1:
    time.sleep(1000)
{collective}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("collective", "name"),
    [
        ("dist.all_reduce(torch.zeros(1))", "all_reduce ("),
        ("dist.barrier()", "barrier ("),
        ("dist.all_gather_object([None, None], 'a')", "all_gather ("),
        ("model(torch.zeros(1, 2)).sum().backward()", "the backward pass"),
    ],
)
@pytest.mark.usefixtures("short")
def test_every_wait_of_gloo_is_a_proof(ranks, watch, meeting, collective, name, hung_within):
    for _ in range(2):
        source = JOINS.format(collective=collective)
        ranks.start(source, world=2, MASTER_ADDR="127.0.0.1", GLOO_SOCKET_IFNAME="lo", **meeting)
    ranks.wait(0)
    ranks.wait(1)
    assert hung_within(watch(None), 10)
    assert ranks.found.message.startswith("user code: rank 1 hung: ")
    assert f"Waiting for it: rank 0, in {name}" in ranks.found.message


@pytest.mark.slow
@pytest.mark.usefixtures("short")
def test_a_loader_whose_worker_is_stuck_is_named_with_the_line_of_the_worker(ranks, watch, hung_within):
    ranks.start(LOADS)
    assert hung_within(watch(None), DEADLINE)
    message = ranks.found.message
    assert message.startswith("data: the script hung: no output and no work for ")
    assert "it waits for data at " in message
    assert f"a worker of its DataLoader is at {ranks.folder}/0-train.py:10 in Data.__getitem__." in message


@pytest.mark.slow
@pytest.mark.procs
def test_a_frozen_rank_is_named_within_90_s_as_shipped(job, start_verb):
    run = start_verb(TRAIN, job("import os, time\nprint('pid', os.getpid())\nwhile True: time.sleep(0.1)\n"))
    run.wait_for("[rank 1] pid ")
    frozen = int(re.search(r"\[rank 1\] pid (\d+)", run.log)[1])
    os.kill(frozen, signal.SIGSTOP)
    started = time.monotonic()
    assert run.wait() == 5, run.log
    assert time.monotonic() - started < 90
    assert run.failure.startswith("platform: rank 1 hung: its process was stopped (SIGSTOP) ")
    assert not Path(f"/proc/{frozen}").exists()


GIVES_UP = RAISES_ALONE.replace(
    'init_process_group("gloo")', 'init_process_group("gloo", timeout=timedelta(seconds=7))'
)


@pytest.mark.slow
@pytest.mark.procs
def test_where_torch_gives_up_first_the_rank_behind_is_named_all_the_same(job, run_verb):
    run = run_verb(TRAIN, job(f"from datetime import timedelta\n{GIVES_UP}"), expect=5, environ={SETTING: "8"})
    assert run.failure.startswith("user code: rank 1 hung: no output and no work for ")
    assert "RuntimeError" in (run.paths.output_data / "failure" / "localhost.txt").read_text()


@pytest.mark.slow
@pytest.mark.procs
def test_on_two_hosts_the_one_with_the_rank_that_is_behind_says_so_for_both(make_tree, start_verb, meeting):
    hosts, runs = ["127.0.0.1", "127.0.0.2"], []
    for host in hosts:
        cluster = {"current_host": host, "hosts": hosts, "network_interface_name": "lo"}
        paths = make_tree({"training": {"a.csv": "0,1\n"}}, cluster=cluster, sagemaker_program="train.py")
        paths.code.mkdir()
        (paths.code / "train.py").write_text(RAISES_ALONE)
        runs.append(start_verb(TRAIN, paths, environ=meeting | {SETTING: "4"}))
    assert [run.wait() for run in runs] == [5, 5], runs[0].log + runs[1].log
    assert "They wait for another host." in runs[0].log
    assert runs[0].failure.startswith("user code: host 127.0.0.2: the script hung: no output and no work for ")
    assert runs[1].failure == runs[0].failure
