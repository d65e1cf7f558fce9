"""Stacks of real processes, by py-spy and by their own word."""

import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from twofold.train import stacks
from twofold.train.stacks import Frame, Stacks, of_faulthandler, take

CODE = """
import sys, time
from pathlib import Path
from twofold.train import stacks
stacks.listen(Path(sys.argv[1]), 0)
def in_vain():
    print("ready", flush=True)
    time.sleep(1000)
in_vain()
"""


@pytest.fixture
def rank(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(CODE)
    with subprocess.Popen([sys.executable, script, tmp_path], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield process
        process.kill()


@pytest.mark.parametrize("py_spy", [stacks._PY_SPY, Path("/nowhere/py-spy")], ids=["py-spy", "faulthandler"])
@pytest.mark.parametrize("stopped", [False, True])
def test_a_rank_is_found_where_it_is(tmp_path, rank, py_spy, stopped):
    if stopped:
        rank.send_signal(signal.SIGSTOP)
    found = take(rank.pid, tmp_path / "rank-0.stacks", py_spy=py_spy)
    assert (found.place.file, found.place.name) == (str(tmp_path / "script.py"), "in_vain")
    assert "in_vain" in found.text
    assert found.waits_in == ""


def test_nobody_can_tell(tmp_path):
    assert take(2**22 + 1, tmp_path / "none", py_spy=Path("/nowhere/py-spy")) == Stacks()
    assert Stacks().place is None


def test_a_crash_leaves_its_line(tmp_path, rank):
    rank.send_signal(signal.SIGSEGV)
    assert rank.wait(30) == -signal.SIGSEGV
    assert of_faulthandler((tmp_path / "rank-0.fatal").read_text()).place.name == "in_vain"


TORCH = str(Path(sysconfig.get_path("purelib")) / "torch")
RANKS = str(Path(stacks.__file__).with_name("ranks.py"))


@pytest.mark.parametrize(
    ("frames", "waits"),
    [
        (
            [
                (f"{TORCH}/distributed/c10d_logger.py", "wrapper"),
                (f"{TORCH}/distributed/distributed_c10d.py", "all_reduce"),
                (RANKS, "sum"),
            ],
            f"all_reduce ({RANKS}:1 in sum)",
        ),
        ([(f"{TORCH}/autograd/graph.py", "_engine_run_backward")], "the backward pass, which sums gradients"),
        ([(f"{TORCH}/nn/functional.py", "linear"), ("/home/net.py", "forward")], ""),
    ],
)
def test_the_collective_is_named(frames, waits):
    found = Stacks(tuple(Frame(file, 1, name) for file, name in frames))
    assert found.waits_in.startswith(waits)
    assert bool(found.waits_in) is bool(waits)


def test_compilers_and_the_stream_are_known():
    assert Stacks((Frame(f"{TORCH}/_inductor/x.py", 1, "f"),)).compiles
    stream = Path(stacks.__file__).parents[1] / "stream" / "loader.py"
    assert Stacks((Frame(str(stream), 1, "f"),)).reads
    assert not Stacks((Frame("/home/net.py", 1, "f"),)).reads
