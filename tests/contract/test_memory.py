import subprocess
import sys

import pytest
from twofold.contract import memory
from twofold.contract.machine import CGROUP
from twofold.contract.memory import Usage, largest, oom_kills, usage

MEMINFO = "MemTotal: 1000 kB\nMemAvailable: 300 kB\nCached: 90 kB\nBuffers: 10 kB\nShmem: 20 kB\n"


@pytest.fixture
def kernel(tmp_path):
    """kernel({"memory.max": "5"}) -> folder that stands for the cgroup, beside /proc."""

    def write(files, meminfo=MEMINFO):
        for name, text in {"proc/meminfo": meminfo, "proc/vmstat": "oom_kill 7\n", **files}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path / "cgroup", tmp_path / "proc"

    return write


def test_cgroup_v2(kernel):
    cgroup = {
        "cgroup/memory.max": "200000\n",
        "cgroup/memory.current": "150000\n",
        "cgroup/memory.stat": "anon 9\nfile 50000\nshmem 20000\ninactive_file 30000\n",
        "cgroup/memory.events": "low 0\noom 3\noom_kill 2\n",
    }
    assert usage(*kernel(cgroup)) == Usage(used=120000, limit=200000, cache=50000, shared=20000)
    assert oom_kills(*kernel(cgroup)) == 2


def test_cgroup_v1(kernel):
    cgroup = {
        "cgroup/memory/memory.limit_in_bytes": "200000\n",
        "cgroup/memory/memory.usage_in_bytes": "150000\n",
        "cgroup/memory/memory.stat": "cache 1\ntotal_cache 50000\ntotal_shmem 20000\ntotal_inactive_file 30000\n",
        "cgroup/memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n",
    }
    assert usage(*kernel(cgroup)) == Usage(used=120000, limit=200000, cache=50000, shared=20000)
    assert oom_kills(*kernel(cgroup)) == 4


@pytest.mark.parametrize("limit", [{}, {"cgroup/memory.max": "max\n"}, {"cgroup/memory.max": "99999999999\n"}])
def test_without_a_limit_below_it_the_machine_counts(kernel, limit):
    found = usage(*kernel(limit))
    assert found == Usage(used=700 * 1024, limit=1000 * 1024, cache=100 * 1024, shared=20 * 1024)
    assert found.share == 0.7
    assert oom_kills(*kernel(limit)) == 7


def test_a_kernel_that_tells_nothing(tmp_path):
    assert usage(tmp_path, tmp_path) is None
    assert oom_kills(tmp_path, tmp_path) == 0


def test_a_limit_without_a_count(kernel):
    assert usage(*kernel({"cgroup/memory.max": "5000\n"})) is None


def test_this_machine():
    assert 0 < usage(CGROUP).share < 1
    assert oom_kills(CGROUP) >= 0


def test_the_largest_process_is_found_by_its_rank():
    code = "held = bytearray(b'x') * 300_000_000; print(flush=True); import sys; sys.stdin.read()"
    command = [sys.executable, "-c", code]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env={"RANK": "5"}, **pipes) as process:
        process.stdout.readline()
        (found,) = [one for one in largest(10_000) if one.pid == process.pid]
        assert found.name == "rank 5"
        assert 300_000_000 <= found.private < 400_000_000
        assert len(largest(1)) == 1
    assert memory.PROC.is_dir()
