"""Nothing is left in the folder for temporary files, however a server ends."""

import os
import signal
import sys
import tempfile
import urllib.parse
from pathlib import Path

import pytest
from twofold.errors import PlatformError
from twofold.serve.own_folder import own_folder

ROW = b"1,2,3,4\n"
CSV = {"Content-Type": "text/csv"}
SESSIONS = {"SAGEMAKER_ENABLE_STATEFUL_SESSIONS": "true"}
DIES = """
import os, tempfile
def model_fn(model_dir):
    tempfile.mkdtemp()
    if os.path.exists(os.path.join(model_dir, "broken")):
        raise ValueError("broken")
    if os.path.exists(os.path.join(model_dir, "slow")):
        import time
        time.sleep(60)
def transform_fn(model, data, content_type, accept):
    if data == b"die":
        os._exit(3)
    return tempfile.gettempdir()
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folder for temporary files, so deep that no socket below it has an address that the kernel would take."""
    folder = tmp_path / ("x" * 60) / ("y" * 60)
    folder.mkdir(parents=True)
    # ONNX Runtime would leave a number of the machine there.
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    return folder


@pytest.fixture
def several(serving, place, tmp_path):
    """A multi-model endpoint with that folder."""
    return serving(tmp_path, TMPDIR=str(place), SAGEMAKER_MULTI_MODEL="true", SAGEMAKER_STARTUP_TIMEOUT="3").ready()


def load(server, folder):
    """Load a model under its folder's name; return the status."""
    body = f'{{"model_name": "{folder.name}", "url": "{folder}"}}'.encode()
    return server.ask("POST", "/models", body)[0]


def script(folder, *flags):
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "inference.py").write_text(DIES)
    for flag in flags:
        (folder / flag).touch()
    return folder


def invoke(server, folder, body):
    return server.ask("POST", f"/models/{urllib.parse.quote(folder.name)}/invoke", body, {"Content-Type": "text/plain"})


def models(place):
    """Folders of models that are there."""
    return sorted(place.glob("*/models/model-*"))


def test_a_server_that_was_stopped_leaves_nothing(serving, program, place):
    server = serving(program.base, TMPDIR=str(place), **SESSIONS).ready()
    assert server.ask("POST", "/invocations", ROW, CSV)[0] == 200
    assert len(list(place.iterdir())) == 1
    assert server.stop() == 0
    assert not list(place.iterdir())


def test_a_server_that_does_not_start_leaves_nothing(serving, tmp_path, place):
    assert serving(tmp_path, TMPDIR=str(place)).process.wait(40) == 4
    assert not list(place.iterdir())


@pytest.mark.slow
def test_what_a_killed_server_has_left_is_removed_by_the_next(serving, program, place, until):
    killed = serving(program.base, TMPDIR=str(place), **SESSIONS).ready()
    left = list(place.iterdir())
    beside = serving(program.base, TMPDIR=str(place)).ready()
    assert left[0].is_dir(), "of one that runs nothing is removed"
    os.kill(killed.process.pid, signal.SIGKILL)
    killed.process.wait()
    until(killed.refuses, "its workers have ended, too")
    assert left[0].is_dir()
    serving(program.base, TMPDIR=str(place)).ready().stop()
    assert not left[0].is_dir()
    beside.stop()
    assert not list(place.iterdir())


@pytest.mark.slow
def test_several_models_leave_nothing(several, program, place, tmp_path, until):
    mine = script(tmp_path / "mine")
    assert load(several, program.folder) == load(several, mine) == 200
    assert len(models(place)) == 2
    assert load(several, script(tmp_path / "bad", "broken")) == 500
    assert load(several, script(tmp_path / "late", "slow")) == 500
    assert len(models(place)) == 2, "what fails to load, or takes too long, leaves none"
    assert invoke(several, mine, b"die")[0] == 500
    assert len(models(place)) == 1
    assert Path(invoke(several, mine, b"")[2].decode()) in models(place), "it is loaded again, and has its own"
    assert several.ask("DELETE", f"/models/{program.folder.name}")[0] == 200
    assert len(models(place)) == 1
    assert several.stop() == 0
    until(lambda: not list(place.iterdir()), "everything goes with the server")


def test_a_killed_server_process_leaves_nothing_to_the_one_in_its_place(several, place, tmp_path, until):
    mine = script(tmp_path / "mine")
    assert load(several, mine) == 200
    before = models(place)
    pid = several.process.pid
    worker = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    os.kill(worker, signal.SIGKILL)

    def again():
        try:
            return invoke(several, mine, b"")[0] == 200
        except OSError:
            return False

    until(again, "the next server process loads it again")
    assert len(models(place)) == 1
    assert models(place) != before


def test_a_fork_that_ends_leaves_the_folder(place, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    try:
        with own_folder() as folder:
            child = os.fork()
            if not child:
                sys.exit()
            os.waitpid(child, 0)
            assert folder.is_dir()
    except SystemExit:
        os._exit(0)
    assert not folder.exists()


def test_without_a_folder_it_says_what_to_set(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(PlatformError, match=r"No folder for temporary files: .*set TMPDIR"), own_folder():
        pass
