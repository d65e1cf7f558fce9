"""Real processes: a supervisor, a stand-in for torchrun, and ranks that do one thing each."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
DEADLINE = 30

# Ranks say "ready" once they listen, so that no test has to guess.
SAVES = """
import signal, sys
def save(*_):
    print("saved", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
while True: signal.pause()
"""
IGNORES = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
while True: signal.pause()
"""
IGNORES_ONCE = """
import signal
heard = []
signal.signal(signal.SIGTERM, lambda *_: print("heard", flush=True))
print("ready", flush=True)
while True: signal.pause()
"""
ENDS = "print('ready', flush=True)"


class Supervisor:
    def __init__(self, output, *argv, stop_timeout_s=20):
        self.output = output
        with output.open("wb") as sink:
            command = [sys.executable, SCRIPTS / "supervise_and_tell.py", str(stop_timeout_s), *argv]
            self.process = subprocess.Popen(list(map(str, command)), stdout=sink, stderr=subprocess.STDOUT)

    @property
    def log(self):
        return self.output.read_text()

    def wait_for(self, text, times=1):
        end = time.monotonic() + DEADLINE
        while self.log.count(text) < times:
            assert time.monotonic() < end, f"no {text!r} in:\n{self.log}"
            time.sleep(0.01)

    def ending(self):
        assert self.process.wait(DEADLINE) == 0, self.log
        return self.log.splitlines()[-1]


@pytest.fixture
def supervisor(tmp_path):
    started = []

    def start(*argv, **options):
        started.append(Supervisor(tmp_path / "output.log", *argv, **options))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def agent(rank):
    return (sys.executable, SCRIPTS / "agent_of_two_ranks.py", rank)


@pytest.mark.parametrize(
    ("code", "ending"),
    [
        ("pass", "returncode=0 stopped=False killed=False left=0"),
        ("raise SystemExit(3)", "returncode=3 stopped=False killed=False left=0"),
        ("import os; os.kill(os.getpid(), 9)", "returncode=-9 stopped=False killed=False left=0"),
    ],
)
def test_the_exit_code_is_the_childs(supervisor, code, ending):
    assert supervisor(sys.executable, "-c", code).ending() == ending


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_goes_to_every_rank_and_not_to_the_agent(supervisor, number):
    run = supervisor(*agent(SAVES))
    run.wait_for("ready", 2)
    run.process.send_signal(number)
    assert run.ending() == "returncode=0 stopped=True killed=False left=0"
    assert run.log.count("saved") == 2


def test_a_second_stop_signal_changes_nothing(supervisor):
    run = supervisor(*agent(IGNORES_ONCE), stop_timeout_s=1)
    run.wait_for("ready", 2)
    run.process.send_signal(signal.SIGTERM)
    run.wait_for("heard", 2)
    run.process.send_signal(signal.SIGTERM)
    run.process.send_signal(signal.SIGINT)
    assert run.ending().endswith("stopped=True killed=True left=0")
    assert run.log.count("heard") == 2
    assert run.log.count("telling") == 1


def test_before_there_are_ranks_the_agent_is_told(supervisor):
    run = supervisor(sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(60)")
    run.wait_for("ready")
    run.process.send_signal(signal.SIGTERM)
    assert run.ending() == "returncode=-15 stopped=True killed=False left=0"


def test_ranks_that_do_not_leave_are_killed(supervisor):
    run = supervisor(*agent(IGNORES), stop_timeout_s=0.5)
    run.wait_for("ready", 2)
    run.process.send_signal(signal.SIGTERM)
    assert run.ending().endswith("stopped=True killed=True left=0")
    assert "ranks did not leave within 0.5 s of the stop signal: killing them" in run.log


def test_ranks_that_hang_are_killed(supervisor, tmp_path, monkeypatch):
    monkeypatch.setenv("HUNG", str(tmp_path / "hung"))
    run = supervisor(*agent(IGNORES))
    run.wait_for("ready", 2)
    (tmp_path / "hung").touch()
    assert run.ending() == "returncode=-9 stopped=False killed=False left=0"


@pytest.mark.parametrize("left", ["exit(3)", "os.kill(os.getpid(), 9)"])
def test_it_starts_again_with_other_variables(supervisor, monkeypatch, left):
    monkeypatch.setenv("AGAIN", "1")
    code = f"import os; print('start', os.environ.get('START'), flush=True); os.environ.get('START') or {left}"
    run = supervisor(sys.executable, "-c", code)
    assert run.ending() == "returncode=0 stopped=False killed=False left=0"
    starts = [line for line in run.log.splitlines() if line.startswith("start")]
    assert starts == ["start None", "start 2"]


@pytest.mark.parametrize(("when", "starts"), [("signal", 1), ("late", 2)])
def test_a_stop_signal_between_two_starts_is_not_lost(supervisor, monkeypatch, when, starts):
    monkeypatch.setenv("AGAIN", when)
    code = "import os, signal; print('start', flush=True); os.environ.get('START') or exit(3); signal.pause()"
    run = supervisor(sys.executable, "-c", code)
    assert " stopped=True killed=False left=0" in run.ending()
    assert run.log.splitlines().count("start") <= starts
    assert run.log.count("asked") == starts


def ranks_of(pattern):
    """Processes whose command line holds a text."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and entry.name != str(os.getpid()):
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if pattern.encode() in command:
                found.append(int(entry.name))
    return found


def test_ranks_of_a_killed_agent_do_not_run_on(supervisor):
    mark = f"# rank of {os.getpid()}"
    run = supervisor(*agent(IGNORES + mark))
    run.wait_for("ready", 2)
    (agent_pid,) = [
        pid
        for pid in ranks_of(mark)
        if b"agent_of_two" in Path(f"/proc/{pid}/cmdline").read_bytes()
        and b"supervise_and_tell" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    os.kill(agent_pid, signal.SIGKILL)
    assert run.ending().startswith("returncode=-9 stopped=False")
    end = time.monotonic() + DEADLINE
    while ranks_of(mark):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_orphans_are_reaped_while_the_child_runs(supervisor):
    """A grandchild whose parent has gone becomes ours, and must not stay as a zombie."""
    code = """
import os, sys, time
from pathlib import Path
reader, writer = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:  # the orphan, once its parent has gone
        os.write(writer, str(os.getpid()).encode())
        os._exit(0)
    os._exit(0)
os.wait()
orphan = Path("/proc") / os.read(reader, 100).decode()
end = time.monotonic() + 20
while orphan.exists():
    if time.monotonic() > end:
        sys.exit(7)
    time.sleep(0.01)
"""
    assert supervisor(sys.executable, "-c", code).ending() == "returncode=0 stopped=False killed=False left=0"
