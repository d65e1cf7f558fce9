"""The command `twofold`, as a real process: `auto` is what the image runs when no verb is named."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from twofold import __version__
from twofold.__main__ import asked_for
from twofold.contract.paths import Paths
from twofold.errors import ConfigError

pytestmark = pytest.mark.procs

TWOFOLD = "twofold.__main__"


def test_without_a_command_it_helps(run_verb, make_tree):
    text = run_verb(TWOFOLD, make_tree({})).log
    assert "train    run the training job under /opt/ml" in text
    assert "serve    answer /ping and /invocations" in text


def test_it_knows_its_version(run_verb, make_tree):
    assert run_verb(TWOFOLD, make_tree({}), "--version").log == f"twofold, version {__version__}\n"


def test_nothing_mounted_says_how_to_ask(run_verb, tmp_path):
    run = run_verb(TWOFOLD, Paths(tmp_path), "auto")
    assert f"Nothing is mounted under {tmp_path}" in run.log
    assert "Usage:" in run.log


def test_a_training_job_is_trained(run_verb, make_tree):
    paths = make_tree({"training": {"a.csv": "0,1\n1,2\n"}}, epochs=1, hidden="4", batch_size=2)
    run = run_verb(TWOFOLD, paths, "auto")
    assert "model written to" in run.log
    assert (paths.model / "twofold.json").exists()


def test_a_training_job_that_cannot_be_trained_ends_as_train_does(run_verb, make_tree):
    run = run_verb(TWOFOLD, make_tree({}, epochs=0), "auto", expect=2)
    assert run.failure.startswith("configuration: Hyperparameter 'epochs' is 0.")


def test_a_model_folder_is_served(run_verb, tmp_path):
    """A port that cannot be is refused by `serve` and by nobody else."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "twofold.json").write_text("{}")
    run = run_verb(TWOFOLD, Paths(tmp_path), "auto", environ={"SAGEMAKER_BIND_TO_PORT": "0"}, expect=2)
    assert run.log.startswith("serve: The environment variable SAGEMAKER_BIND_TO_PORT is '0'")


def test_a_processing_job_needs_a_command(run_verb, tmp_path):
    paths = Paths(tmp_path)
    paths.processing_config.mkdir()
    run = run_verb(TWOFOLD, paths, "auto", expect=2)
    text = "configuration: This is a processing job without a command. Expected ContainerEntrypoint"
    assert paths.message.read_text().startswith(text)
    assert text in run.log
    assert "Traceback" not in run.log


def test_the_verb_takes_the_place_of_the_command(start_verb, make_tree):
    """PID 1 must be the verb itself, which hears SIGTERM."""
    hosts = {"current_host": "localhost", "hosts": ["localhost", "nowhere.invalid"]}
    run = start_verb(TWOFOLD, make_tree({}, cluster=hosts), "auto")
    run.wait_for("waiting for the name of host")
    command = Path(f"/proc/{run.process.pid}/cmdline").read_text().split("\0")
    assert command[1:4] == ["-P", "-m", "twofold.train"]
    run.send(signal.SIGTERM)
    assert run.wait() == 143


@pytest.mark.parametrize("verb", ["train", "serve", "monitor", "twofold"])
def test_executables_are_there_and_start_quickly(verb):
    """Each is on PATH beside this Python, and says what it does without importing torch."""
    started = time.monotonic()
    program = Path(sys.executable).parent / verb
    done = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=60, check=True)
    assert "Usage:" in done.stdout
    assert time.monotonic() - started < 10


def test_training_goes_before_processing_goes_before_serving(tmp_path):
    paths = Paths(tmp_path)
    assert asked_for(paths, {}) is None
    paths.model.mkdir()
    assert asked_for(paths, {}) is None
    (paths.model / "x").touch()
    assert asked_for(paths, {}) == "serve"
    paths.processing_config.mkdir()
    assert asked_for(paths, {"dataset_source": "/opt/ml/processing/endpointdata"}) == "monitor"
    with pytest.raises(ConfigError):
        asked_for(paths, {})
    paths.config.mkdir(parents=True)
    assert asked_for(paths, {}) == "train"


@pytest.mark.parametrize("command", ["doctor", "conform", "rehearse", "ledger"])
def test_help_says_what_to_type(command):
    program = Path(sys.executable).with_name("twofold")
    done = subprocess.run([program, command, "--help"], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith(f"Usage: twofold {command} ")
