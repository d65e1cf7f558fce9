"""What the kernel counts of processes that work, wait, and are cut loose."""

import os
import signal
import subprocess
import sys
import time

import pytest
from twofold.train import activity


@pytest.fixture
def start():
    """start(code) -> a Python in a group of its own that has printed a line."""
    started = []

    def run(code):
        process = subprocess.Popen(
            [sys.executable, "-c", f"import os, signal, subprocess, sys, time\n{code}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,
        )
        started.append(process)
        process.line = process.stdout.readline().decode()
        return process

    yield run
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def work_of(process):
    table = activity.processes()
    return activity.work(activity.members(table, process.pid))


WAITS = "print('ready', flush=True)\nsys.stdin.read()\n"


def test_a_process_that_waits_does_nothing_and_has_no_turn(start, until):
    process = start(WAITS)
    until(lambda: activity.processes()[process.pid].state == "S")
    before, turns = work_of(process), activity.turns(process.pid)
    time.sleep(0.3)
    assert work_of(process) == before
    assert activity.turns(process.pid) == turns
    process.send_signal(signal.SIGSTOP)
    until(lambda: activity.processes()[process.pid].state == activity.STOPPED)


def test_what_runs_is_seen_in_its_time_its_turns_and_its_state(start, until):
    process = start("print('ready', flush=True)\nwhile True: pass\n")
    before, turns = work_of(process), activity.turns(process.pid)
    assert before.wants
    until(lambda: work_of(process).cpu_s > before.cpu_s)
    until(lambda: activity.turns(process.pid) > turns)


def test_what_is_read_is_counted_of_children_that_have_ended_too(start):
    child = "open('/dev/zero', 'rb').read(3_000_000)"
    process = start(f"subprocess.run([sys.executable, '-c', {child!r}], check=True)\nprint(flush=True)\n{WAITS}")
    assert work_of(process).bytes > 3_000_000


def test_a_script_has_its_children_and_its_group_and_what_it_cut_loose_is_known(start):
    sleep = "import time; time.sleep(60)"
    process = start(
        f"a = subprocess.Popen([sys.executable, '-c', {sleep!r}])\n"
        f"b = subprocess.Popen([sys.executable, '-c', {sleep!r}], start_new_session=True)\n"
        f"print(a.pid, b.pid, flush=True)\n{WAITS}"
    )
    a, b = map(int, process.line.split())
    table = activity.processes()
    assert [one.pid for one in activity.members(table, process.pid)] == [process.pid, *sorted([a, b])]
    loose = {one.pid for one in activity.others(table, os.getpid(), [a])}
    assert b in loose
    assert not {process.pid, a, os.getpid()} & loose
    os.kill(b, signal.SIGKILL)


def test_a_script_that_has_ended_has_nobody():
    assert activity.members(activity.processes(), 2**22 + 1) == []
    assert activity.turns(2**22 + 1) is None
    assert not activity.is_python(2**22 + 1)
    assert activity.is_python(os.getpid())


def test_only_what_leaves_the_machine_is_traffic(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "dev").write_text(
        "Inter-|   Receive                            |  Transmit\n"
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop\n"
        "    lo: 1000 1 0 0 0 0 0 0 1000 1 0 0 0 0 0 0\n"
        "  eth0: 500 1 0 0 0 0 0 0 70 1 0 0 0 0 0 0\n"
        "eth1:1 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0\n"
    )
    assert activity.traffic(tmp_path) == 573
    assert activity.traffic(tmp_path / "nothing") == 0
    assert activity.traffic() >= 0
