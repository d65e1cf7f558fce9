"""Faults that are really there, and the failure file that each one leaves."""

import signal
from pathlib import Path

import pytest
from twofold import errors
from twofold.contract import causes
from twofold.contract.cluster import Cluster
from twofold.contract.job import read_training_job
from twofold.errors import TwofoldError
from twofold.train import program, reports
from twofold.train.failures import Memory, settle
from twofold.train.peers import Peers
from twofold.train.reports import Report
from twofold.train.supervise import Ending

DATA = {"training": {"a.csv": "0,1\n1,2\n0,1\n1,2\n"}}
NO_SHORTAGE = Memory()
ALONE = Peers(Cluster(), 0, None)
SHORT = {"epochs": 1, "batch_size": 2}
BUILD = "import torch\n\ndef build(features, outputs):\n    {}\n    return torch.nn.Linear(features, outputs)\n"
FORWARD = """
import torch

class Net(torch.nn.Module):
    def __init__(self, features, outputs):
        super().__init__()
        self.layer = torch.nn.Linear(features, outputs)

    def forward(self, rows):
        {}
        return self.layer(rows)

def build(features, outputs):
    return Net(features, outputs)
"""
SMALL_SHM = "import resource; before = resource.getrlimit(1); resource.setrlimit(1, (4096, before[1]))"
OUT_OF_SHM = f"{SMALL_SHM}\n    try: torch.zeros(100_000).share_memory_()\n    finally: resource.setrlimit(1, before)"


@pytest.fixture
def fail_here(tmp_path):
    """fail_here(paths) -> failure file of a job whose one rank runs in this process."""

    def run(paths, memory=NO_SHORTAGE):
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        reports.reserve(scratch)
        code = program.main({"SAGEMAKER_BASE_DIR": str(paths.base), reports.SCRATCH_VARIABLE: str(scratch)})
        job = read_training_job(paths, {})
        assert settle(job, Ending(code, stopped=False, killed=False), scratch, memory, ALONE) == code
        return paths.failure.read_text()

    return run


@pytest.fixture
def with_code(make_tree):
    """with_code(text) -> tree of a job with an own model in net.py."""

    def make(text, files=DATA, **settings):
        paths = make_tree(files, **{**SHORT, "model": "net.py:build", **settings})
        paths.code.mkdir()
        (paths.code / "net.py").write_text(text)
        return paths

    return make


@pytest.mark.parametrize(
    ("code", "starts", "names"),
    [
        (
            FORWARD.format("raise KeyError('width')"),
            "user code: KeyError: 'width' (at ",
            "net.py:10 in forward: raise KeyError('width'))",
        ),
        (
            FORWARD.format("raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB.')"),
            "memory: OutOfMemoryError: ",
            "lower 'micro_batch_size'",
        ),
        (FORWARD.format("[0] * (1 << 60)"), "memory: MemoryError (at ", "net.py:10 in forward"),
        (
            "import lightgbm\n" + BUILD,
            "user code: net.py failed when it was imported",
            "to requirements.txt",
        ),
        (
            BUILD.format("raise ValueError('bad width')"),
            "user code: net.py:build failed",
            "net.py:4 in build: raise",
        ),
        (BUILD.format(OUT_OF_SHM), "shared memory: net.py:build failed", "net.py:5 in build"),
    ],
    ids=["exception", "device memory", "host memory", "import", "build", "shared memory"],
)
def test_faults_of_own_code(with_code, fail_here, code, starts, names):
    found = fail_here(with_code(code))
    assert found.startswith(starts)
    assert names in found
    assert len(found) <= 1024


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({"training": {}}, "data: Channel 'training'"),
        ({"training": {"a.csv": "0,1\n1,x\n"}}, "data: Channel 'training', file a.csv: line 2, column 2 is 'x'"),
        ({"training": {"a.npy": b"\x93NUMPY\x01\x00\x10\x00broken"}}, "data: Channel 'training', file a.npy"),
    ],
    ids=["empty channel", "corrupt record", "corrupt file"],
)
def test_faults_of_data(make_tree, fail_here, files, text):
    assert fail_here(make_tree(files, **SHORT)).startswith(text)


def test_a_full_disk(make_tree, fail_here, files_of_at_most):
    with files_of_at_most(400_000):
        found = fail_here(make_tree(DATA, **SHORT, hidden=[512, 512]))
    assert found.startswith("disk: The model cannot be written to ")
    assert "raise VolumeSizeInGB" in found


def test_the_full_report_has_every_rank_in_order_and_the_traceback(with_code, fail_here):
    paths = with_code(FORWARD.format("raise KeyError('width')"))
    assert "All ranks: failure/localhost.txt in the output data." in fail_here(paths)
    full = (paths.output_data / "failure" / "localhost.txt").read_text()
    assert full.startswith("rank 0, +0.000 s, exit code 1\nuser code: KeyError")
    assert "Traceback (most recent call last)" in full


def test_the_users_own_failure_file_wins(with_code, fail_here):
    paths = with_code(FORWARD.format("raise KeyError('width')"))
    paths.failure.parent.mkdir()
    paths.failure.write_text("mine")
    assert fail_here(paths) == "mine"


def settled(paths, scratch, *left, memory=NO_SHORTAGE, returncode=1, stopped=False, peers=ALONE):
    for report in left:
        reports.write(scratch, report)
    job = read_training_job(paths, {})
    code = settle(job, Ending(returncode, stopped=stopped, killed=False), scratch, memory, peers)
    return code, paths.failure.read_text() if paths.failure.exists() else None


KILLED = Report(
    "agent of rank 1", "platform: rank 1: was killed by SIGKILL (signal 9): perhaps", 137, signal=signal.SIGKILL
)


@pytest.mark.parametrize(
    ("memory", "starts"),
    [
        (Memory(), "platform: rank 1: was killed by SIGKILL (signal 9): perhaps"),
        (Memory(kills=1), "memory: rank 1: the kernel killed it because the container's memory was full."),
        (Memory(peak="97% was held."), "memory: rank 1: was killed by SIGKILL, most likely because"),
    ],
)
def test_a_rank_killed_for_memory(make_tree, tmp_path, memory, starts):
    lost = Report("rank 0", "network: another rank ended: gloo", 1, peer=True)
    code, found = settled(make_tree({}), tmp_path, lost, KILLED, memory=memory)
    assert code == 137
    assert found.startswith(starts)
    assert memory.peak in found


def test_the_failure_file_is_there_before_others_are_told(make_tree, tmp_path):
    """Telling those that do not listen yet takes seconds, in which this host may be stopped."""
    paths, there = make_tree({}), []

    class Watched(Peers):
        def tell(self, *_, **__):
            there.append(paths.failure.read_text())

    _, found = settled(paths, tmp_path, KILLED, peers=Watched(Cluster(), 0, None))
    assert there == [found]


def test_an_agent_killed_for_memory(make_tree, tmp_path):
    code, found = settled(make_tree({}), tmp_path, memory=Memory(kills=1), returncode=-9)
    assert code == 137
    assert found.startswith("memory: the agent: the kernel killed it")


def test_nobody_left_a_report(make_tree, tmp_path):
    code, found = settled(make_tree({}), tmp_path, returncode=9)
    assert code == 9
    assert found.startswith("internal: the ranks left no report, see the log: their parent ended with exit code 9")


def test_told_to_stop_before_the_first_step_is_no_failure(make_tree, tmp_path):
    assert settled(make_tree({}), tmp_path, returncode=-15, stopped=True) == (143, None)


SHORTAGE = Report("rank 1", "memory: rank 1: OutOfMemoryError", 1, smaller=3, shortage="rank 1 ran out")


def test_told_to_stop_while_ranks_could_begin_again_is_no_failure(make_tree, tmp_path):
    assert settled(make_tree({}), tmp_path, SHORTAGE, stopped=True) == (143, None)


def test_a_shortage_after_which_nobody_begins_again_is_a_failure(make_tree, tmp_path):
    code, found = settled(make_tree({}), tmp_path, SHORTAGE)
    assert code == 1
    assert found.startswith("memory: rank 1: OutOfMemoryError")


def test_output_data_that_cannot_be_written_costs_the_full_report_only(make_tree, tmp_path):
    paths = make_tree({})
    paths.output.mkdir()
    paths.output_data.write_text("a file where the folder should be")
    code, found = settled(paths, tmp_path, KILLED)
    assert (code, found) == (137, KILLED.message)


def test_the_manual_has_every_class():
    manual = (Path(__file__).parents[2] / "docs" / "failures.md").read_text(encoding="utf-8")
    ours = {kind.cause for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, TwofoldError)}
    found = {cause.name for cause in vars(causes).values() if isinstance(cause, causes.Cause)}
    # These two are an endpoint's and the base of others.
    for name in (ours | found) - {"request", "user"}:
        assert f"| `{name}` |" in manual


@pytest.mark.procs
def test_the_first_rank_that_fails_is_named_and_not_the_one_that_lost_it(with_code, run_verb):
    """Rank 1 fails inside the user's code while rank 0 waits for it in the backward pass."""
    code = FORWARD.format("import os\n        if os.environ['RANK'] == '1': raise KeyError('width')")
    run = run_verb("twofold.train", with_code(code, processes_per_host=2), expect=1)
    assert run.failure.startswith("user code: rank 1: KeyError: 'width' (at ")
    assert "net.py:11 in forward" in run.failure
    full = (run.paths.output_data / "failure" / "localhost.txt").read_text()
    assert full.startswith("rank 1, +0.000 s, exit code 1\nuser code: rank 1: KeyError")


@pytest.mark.procs
def test_faults_that_the_parent_finds(make_tree, run_verb, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "from twofold.train import launch, peers\n"
        "launch.wait_for_hosts.__kwdefaults__['timeout_s'] = peers.GATHER_S = 0.1\n"
    )
    hosts = {"current_host": "localhost", "hosts": ["localhost", "nowhere.invalid"]}
    wrong = make_tree(DATA, cluster=hosts, **SHORT)
    run = run_verb("twofold.train", wrong, environ={"PYTHONPATH": str(tmp_path)}, expect=5)
    assert run.failure.startswith("network: Host 'nowhere.invalid' did not resolve within 0 s")
