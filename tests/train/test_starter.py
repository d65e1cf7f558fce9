"""Real processes that a starter starts, as torchrun would, without torch."""

import json
import os
import subprocess
import sys
import time

import pytest
from twofold.train import reports, starter

ENVIRONMENT = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR")
READY = "import os, signal, sys, time, pathlib; rank = os.environ['RANK']; pathlib.Path(sys.argv[1], rank).touch()\n"
TELL = READY + "import json; pathlib.Path(sys.argv[1], rank).write_text(json.dumps(dict(os.environ)))"
AFTER_PEER = "while not os.path.exists(sys.argv[1] + '/0'): time.sleep(0.01)\n"


@pytest.fixture
def run(tmp_path):
    """run(code, per_host=2, host=0, hosts=1) -> the finished starter of a host whose ranks run the code."""

    def start(code, per_host=2, host=0, hosts=1):
        shared = {
            "WORLD_SIZE": str(per_host * hosts),
            "LOCAL_WORLD_SIZE": str(per_host),
            "GROUP_RANK": str(host),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": "0",
            reports.SCRATCH_VARIABLE: str(tmp_path),
        }
        command = [sys.executable, "-m", "twofold.train.starter", "-c", code, str(tmp_path)]
        environ = {**os.environ, **shared}
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)

    return start


def test_ranks_find_what_torchrun_tells_them(run, tmp_path):
    run(TELL, host=1, hosts=3)
    found = [json.loads((tmp_path / rank).read_text()) for rank in ("2", "3")]
    told = {tuple(one[name] for name in ENVIRONMENT) for one in found}
    assert told == {("2", "0", "6", "2", "1", "127.0.0.1"), ("3", "1", "6", "2", "1", "127.0.0.1")}
    assert len({one["MASTER_PORT"] for one in found} - {"0"}) == 1
    assert [starter.SOCKET_VARIABLE in one for one in found] == [True, False], "the first one listens"


def test_the_port_is_taken_until_the_first_rank_listens(run):
    code = READY + (
        "import socket; bound = socket.socket(fileno=int(os.environ['TWOFOLD_SOCKET'])) if rank == '0' else None\n"
        "assert bound is None or bound.getsockname()[1] == int(os.environ['MASTER_PORT'])"
    )
    assert run(code).returncode == 0


def test_a_run_that_ends_well_leaves_no_report(run, tmp_path):
    assert run("import os; os.write(1, b'done\\n')", per_host=3).stdout == "done\n" * 3
    assert reports.read(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "exit_code", "said"),
    [
        (AFTER_PEER + "sys.exit(7)", 7, "user code: rank 1: ended with exit code 7 without an error"),
        (AFTER_PEER + "os.kill(os.getpid(), signal.SIGKILL)", 137, "platform: rank 1: was killed by SIGKILL"),
    ],
)
def test_the_first_that_fails_is_the_cause_and_its_peers_are_told_to_end(run, tmp_path, code, exit_code, said):
    done = run(READY + f"if rank == '0': signal.pause()\n{code}")
    assert done.returncode == exit_code
    assert [report.message[: len(said)] for report in reports.read(tmp_path)] == [said]


@pytest.mark.slow
def test_a_peer_that_does_not_end_is_killed(run):
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + READY
    started = time.monotonic()
    assert run(code + f"if rank == '0': signal.pause()\n{AFTER_PEER}sys.exit(3)").returncode == 3
    assert time.monotonic() - started > starter.PEER_TIMEOUT_S


def test_what_a_rank_has_said_itself_stays(run, tmp_path):
    code = (
        "import os, sys, pathlib; from twofold.train import reports\n"
        "if os.environ['RANK'] == '1': sys.exit(0)\n"
        "reports.write(pathlib.Path(sys.argv[1]), reports.Report('rank 0', 'mine', 4)); sys.exit(4)"
    )
    assert run(code).returncode == 4
    assert [report.message for report in reports.read(tmp_path)] == ["mine"]


def test_it_needs_neither_torch_nor_pydantic():
    code = "import sys, twofold.train.starter; print(sorted({'torch', 'pydantic', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
