import os
import stat
import threading

import pytest
from twofold.contract import machine
from twofold.contract.machine import cpus, gpu_count, memory_limit, shm_bytes
from twofold.errors import PlatformError

ONE_GPU = "GPU 0: NVIDIA A10G (UUID: GPU-1111)\n"
PARTITIONED = (
    "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-2222)\n"
    "  MIG 3g.20gb     Device  0: (UUID: MIG-3333)\n"
    "  MIG 3g.20gb     Device  1: (UUID: MIG-4444)\n"
)


@pytest.fixture
def cgroup(tmp_path):
    def write(**files):
        for name, content in files.items():
            path = tmp_path / name.replace("__", "/").replace("0", ".")
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
        return tmp_path

    return write


@pytest.fixture
def driver(tmp_path):
    """Put an `nvidia-smi` that runs a shell script on a PATH of its own."""

    def install(script, arguments="--list-gpus"):
        program = tmp_path / "bin" / "nvidia-smi"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\n[ "$*" = {arguments} ] || exit 99\n{script}\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return {"PATH": f"{program.parent}:{os.environ['PATH']}"}

    return install


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("250000 100000", 2),
        ("50000 100000", 1),
        ("3200000 100000", 8),
        ("", 8),
    ],
)
def test_cpus_by_the_quota_of_cgroup_v2(cgroup, monkeypatch, content, expected):
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda pid: set(range(8)))
    assert cpus(cgroup(cpu0max=content + "\n")) == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("300000", 3), ("10000", 1)])
def test_cpus_by_the_quota_of_cgroup_v1(cgroup, monkeypatch, quota, expected):
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda pid: set(range(8)))
    assert cpus(cgroup(cpu__cpu0cfs_quota_us=quota, cpu__cpu0cfs_period_us="100000")) == expected


def test_cpus_without_a_quota_follow_the_affinity_mask(tmp_path):
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cpus(tmp_path) == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(("content", "expected"), [("max\n", None), ("1073741824\n", 1 << 30), ("garbage", None)])
def test_memory_limit_of_cgroup_v2(cgroup, content, expected):
    assert memory_limit(cgroup(memory0max=content)) == expected


@pytest.mark.parametrize(("content", "expected"), [("9223372036854771712", None), ("1073741824", 1 << 30)])
def test_memory_limit_of_cgroup_v1(cgroup, content, expected):
    assert memory_limit(cgroup(memory__memory0limit_in_bytes=content)) == expected


def test_this_machine_answers(tmp_path):
    assert memory_limit(tmp_path) is None
    assert cpus() >= 1
    assert memory_limit() is None or memory_limit() > 0


def test_shared_memory_is_what_the_file_system_has_free(tmp_path):
    assert 0 < shm_bytes(tmp_path) < 1 << 60
    assert shm_bytes(tmp_path / "missing") == 0


@pytest.mark.parametrize(
    ("listing", "devices", "count"),
    [
        (ONE_GPU, None, 1),
        (ONE_GPU * 4, None, 4),
        (ONE_GPU * 4, "0,2", 2),
        (ONE_GPU * 4, "", 0),
        (ONE_GPU * 4, "-1", 0),
        (ONE_GPU * 4, "1,-1,2", 1),
        (ONE_GPU * 4, "0,7,1", 1),
        (ONE_GPU * 4, "GPU-1111", 1),
        (ONE_GPU, "0,1,2", 1),
        (PARTITIONED, None, 1),
        ("No devices found.\n", None, 0),
        ("", None, 0),
    ],
)
def test_gpu_count(driver, listing, devices, count):
    environ = driver(f"printf '%s' '{listing}'")
    if devices is not None:
        environ["CUDA_VISIBLE_DEVICES"] = devices
    assert gpu_count(environ) == count


def test_no_gpus_without_a_driver(tmp_path):
    assert gpu_count({"PATH": str(tmp_path)}) == 0


def test_a_driver_that_fails_means_no_gpus_and_a_word_in_the_log(driver, caplog):
    assert gpu_count(driver("echo driver mismatch; exit 9")) == 0
    assert "code 9 (driver mismatch)" in caplog.text


def test_a_driver_that_cannot_be_run_means_no_gpus_and_a_word_in_the_log(driver, tmp_path, caplog):
    environ = driver("")
    (tmp_path / "bin" / "nvidia-smi").write_text("#!/no/such/shell\n")
    assert gpu_count(environ) == 0
    assert "cannot be run" in caplog.text


def test_a_driver_that_hangs_is_the_platforms_fault(driver):
    with pytest.raises(PlatformError, match=r"no answer in 0\.2 s. Expected a list of GPUs"):
        gpu_count(driver("exec sleep 30"), timeout=0.2)


@pytest.mark.parametrize(
    ("script", "work"),
    [
        ("printf '0\\n0\\n'", False),
        ("printf '0\\n87\\n'", True),
        ("printf '[N/A]\\n'", True),
        ("exit 9", True),
        ("exec sleep 30", True),
    ],
)
def test_gpus_work_unless_the_driver_says_that_they_do_not(driver, script, work):
    query = "'--query-gpu=utilization.gpu --format=csv,noheader,nounits'"
    assert machine.gpus_work(driver(script, query), timeout=0.5) is work


def test_what_is_not_there_does_not_work(tmp_path):
    assert not machine.gpus_work({"PATH": str(tmp_path)})


def test_memory_is_the_smaller_of_limit_and_machine(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       2048 kB\nMemFree:         100 kB\n")
    assert machine.memory_total(tmp_path, meminfo) == 2048 * 1024
    (tmp_path / "memory.max").write_text("1048576\n")
    assert machine.memory_total(tmp_path, meminfo) == 1048576
    (tmp_path / "memory.max").write_text(f"{1 << 40}\n")
    assert machine.memory_total(tmp_path, meminfo) == 2048 * 1024


def test_private_memory_is_what_only_this_process_has():
    before = machine.private_memory(os.getpid())
    held = b"1" * 50_000_000
    assert 40e6 < machine.private_memory(os.getpid()) - before < 80e6
    assert held
    assert machine.private_memory(1 << 30) == 0


def test_a_gpu_is_a_device_of_the_driver(tmp_path):
    (tmp_path / "nvidiactl").touch()
    assert not machine.gpu_here(tmp_path)
    (tmp_path / "nvidia0").touch()
    assert machine.gpu_here(tmp_path)


def test_threads_are_counted():
    end = threading.Event()
    threads = [threading.Thread(target=end.wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert machine.threads_here() >= 4
    end.set()
    for thread in threads:
        thread.join()
