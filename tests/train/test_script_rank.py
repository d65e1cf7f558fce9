"""One process of a script, as torchrun or `train` starts it: output, signals, endings."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from twofold.train.script_rank import Relay

SCRIPTS = Path(__file__).parents[1] / "scripts"
DEADLINE = 60


@pytest.fixture
def relay(tmp_path):
    """A relay and what it has written since it was last asked."""
    path = tmp_path / "relayed"
    with path.open("wb") as target, path.open("rb") as reader:
        yield lambda prefix="": Relay(target.fileno(), prefix), lambda: reader.read().decode()


def test_lines_are_whole_whatever_the_pieces(relay):
    make, written = relay
    copy = make("[rank 1] ")
    for piece in (b"first\nsec", b"ond\r", b"\n\nla", b"st"):
        copy.feed(piece)
    assert written() == "[rank 1] first\n[rank 1] second\n[rank 1] \n"
    copy.close()
    assert written() == "[rank 1] last\n"
    assert list(copy.tail) == ["first", "second", "", "last"]


@pytest.mark.parametrize("form", ["\r{}", "{}\r"], ids=["before", "after"])
def test_a_bar_drawn_a_thousand_times_is_two_lines(relay, form):
    make, written = relay
    copy = make()
    for number in range(1000):
        copy.feed(form.format(f"{number / 10:.1f}%").encode())
    copy.feed(b"\nepoch 1\n")
    assert written() == "0.0%\n99.9%\nepoch 1\n"


def test_a_line_without_end_does_not_fill_the_memory(relay):
    make, written = relay
    copy = make()
    copy.feed(b"x" * 66_000)
    assert len(written()) == 66_001


class Script:
    """A `script_rank` that runs."""

    def __init__(self, folder, source, name="train.py", **environ):
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(source)
        self.scratch = folder.parent / "scratch"
        self.scratch.mkdir(exist_ok=True)
        self.output = folder / "output.log"
        command = [sys.executable if name.endswith(".py") else "bash", name]
        with self.output.open("wb") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "twofold.train.script_rank", folder, *command],
                env={**os.environ, "TWOFOLD_SCRATCH": str(self.scratch), "SM_USER_ENTRY_POINT": name, **environ},
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd="/",
            )

    def wait_for(self, text):
        end = time.monotonic() + DEADLINE
        while text not in self.output.read_text():
            assert time.monotonic() < end, self.output.read_text()
            time.sleep(0.01)

    def ending(self):
        return self.process.wait(DEADLINE)

    @property
    def reports(self):
        return [json.loads(path.read_text()) for path in self.scratch.glob("*.json")]


@pytest.fixture
def script(tmp_path):
    started = []

    def start(source, **options):
        started.append(Script(tmp_path / f"{len(started)}", source, **options))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def test_a_good_script_leaves_no_report(script):
    run = script("import os, sys\nprint(os.getcwd(), sys.argv, os.environ.get('TWOFOLD_SCRATCH'))\n")
    assert run.ending() == 0
    assert run.output.read_text() == f"{run.scratch.parent / '0'} ['train.py'] None\n"
    assert run.reports == []


def test_a_script_that_ends_right_after_its_last_collective_ends_well(script):
    """gloo's thread still waits for the interpreter then, and aborted the process when it was taken down."""
    run = script((SCRIPTS / "sudden.py").read_text())
    assert (run.ending(), run.output.read_text()) == (0, "")


def test_a_script_keeps_a_site_customization_of_its_own(script, tmp_path):
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "sitecustomize.py").write_text("print('mine')\n")
    run = script("print('script')\n")
    assert run.ending() == 0
    assert run.output.read_text() == "mine\nscript\n"


@pytest.mark.parametrize(
    ("world", "hosts", "before"),
    [("4", '["a", "b"]', "[b rank 3] "), ("1", '["a", "b"]', "[b] "), ("4", '["b"]', "[rank 3] "), ("1", '["b"]', "")],
)
def test_host_and_rank_stand_before_every_line_where_there_are_several(script, world, hosts, before):
    run = script("print('first')\nprint('second')\n", RANK="3", WORLD_SIZE=world, SM_HOSTS=hosts, SM_CURRENT_HOST="b")
    assert run.ending() == 0
    assert run.output.read_text() == f"{before}first\n{before}second\n"


@pytest.mark.parametrize(
    ("source", "ending", "code", "text"),
    [
        ("raise ValueError('boom')\n", 1, 1, "user code: rank 3: ValueError: boom (at "),
        ("import sys\nsys.exit(7)\n", 7, 7, "user code: rank 3: train.py ended with exit code 7"),
        ("import os\nos.kill(os.getpid(), 9)\n", -9, 137, "platform: rank 3: train.py was killed by SIGKILL"),
    ],
)
def test_it_ends_as_the_script_and_says_why(script, source, ending, code, text):
    run = script(source, RANK="3", WORLD_SIZE="4")
    assert run.ending() == ending
    (report,) = run.reports
    assert report["source"] == "rank 3"
    assert report["exit_code"] == code
    assert report["message"].startswith(text)


SAVES = """
import signal, sys
def save(*_):
    print("saved", flush=True)
    sys.exit(5)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
while True: signal.pause()
"""


def test_a_stop_reaches_the_script_and_is_no_failure(script):
    run = script(SAVES)
    run.wait_for("ready")
    run.process.send_signal(signal.SIGTERM)
    assert run.ending() == 5
    assert "saved" in run.output.read_text()
    assert run.reports == []


UNTIL_GO = """import os, time
    while not os.path.exists("../scratch/go"): time.sleep(0.01)
    sys.exit(0)"""


def test_a_rank_that_a_stop_ends_outlasts_the_one_that_saves(script):
    """torchrun would take its end for a failure, and give the other 30 s."""
    saves = script(SAVES.replace("sys.exit(5)", UNTIL_GO), RANK="0", WORLD_SIZE="2")
    dies = script("import signal\nprint('ready', flush=True)\nsignal.pause()\n", RANK="1", WORLD_SIZE="2")
    for one in (saves, dies):
        one.wait_for("ready")
        one.process.send_signal(signal.SIGTERM)
    saves.wait_for("saved")
    with pytest.raises(subprocess.TimeoutExpired):
        dies.process.wait(0.5)
    (saves.scratch / "go").touch()
    assert (saves.ending(), dies.ending()) == (0, -signal.SIGTERM)
    assert saves.reports == []


def test_a_stop_reaches_what_a_shell_script_has_started(script):
    run = script(f"'{sys.executable}' -c '{SAVES}'\necho code $?\n", name="train.sh")
    run.wait_for("ready")
    run.process.send_signal(signal.SIGTERM)
    run.ending()
    assert "saved" in run.output.read_text()


def test_a_script_that_does_not_listen_ends_by_the_signal(script):
    run = script("import signal\nprint('ready', flush=True)\nwhile True: signal.pause()\n")
    run.wait_for("ready")
    run.process.send_signal(signal.SIGTERM)
    assert run.ending() == -signal.SIGTERM
    assert run.reports == []


def test_what_holds_the_output_open_is_not_waited_for(script):
    source = (
        "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\nprint('x')\n"
    )
    started = time.monotonic()
    run = script(source)
    assert run.ending() == 0
    assert run.output.read_text() == "x\n"
    assert time.monotonic() - started < 50


def test_a_command_that_is_not_there_is_a_failure(script, monkeypatch):
    run = script("exit 0\n", name="train.sh", PATH="/nowhere")
    assert run.ending() == 126
    assert "train.sh cannot be started" in run.reports[0]["message"]
