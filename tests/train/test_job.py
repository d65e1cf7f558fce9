"""Real `train` runs: the parent, torchrun, and ranks that talk over gloo."""

import os
import re
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from twofold.contract.artifact import read_manifest
from twofold.contract.metrics import definitions

pytestmark = pytest.mark.procs

TRAIN = "twofold.train"
RUN = {"hidden": "16", "batch_size": 12, "epochs": 30, "learning_rate": 0.01}
"""Long enough that a signal comes in the middle of it."""


def losses(verb):
    return [[record["train:loss"], record["validation:loss"]] for record in verb.history]


def weights(verb):
    return load_file(verb.paths.model / "weights.safetensors")


@pytest.fixture(scope="session")
def channels(classes):
    """A last batch of 7 samples of 12: on several ranks shares are uneven."""
    return {
        "training": {"a.csv": classes(25), "b.csv": classes(30, seed=2)},
        "validation": {"v.csv": classes(20, seed=1)},
    }


@pytest.fixture(scope="session")
def alone(make_tree, run_verb, channels):
    return run_verb(TRAIN, make_tree(channels, **RUN))


@pytest.fixture(scope="session")
def two(make_tree, run_verb, channels):
    return run_verb(TRAIN, make_tree(channels, **RUN, processes_per_host=2))


@pytest.fixture(scope="session")
def three(make_tree, run_verb, channels):
    return run_verb(TRAIN, make_tree(channels, **RUN, processes_per_host=3))


@pytest.mark.parametrize("together", ["two", pytest.param("three", marks=pytest.mark.slow)])
def test_any_number_of_processes_learns_the_same(request, alone, together):
    found = losses(request.getfixturevalue(together))
    assert len(found) == RUN["epochs"]
    # Sums in another order differ in the last digit, which training magnifies: the first epochs tell.
    assert found[:5] == [pytest.approx(pair, abs=1e-5) for pair in losses(alone)[:5]]


def test_metrics_are_lines_of_one_rank(two):
    lines = [line for line in two.log.splitlines() if "train:loss=" in line]
    assert len(lines) == RUN["epochs"]
    assert all(line.startswith("[rank 0] ") for line in lines)
    assert re.search(r"epoch=1 step=5 train:loss=[0-9.]+ train:accuracy=[0-9.]+ validation:loss=[0-9.]+ ", lines[0])


def test_what_twofold_metrics_prints_finds_every_number(alone):
    """Three classes have no AUC, a CPU no GPU, and a run of a second no line in the middle of an epoch."""
    missing = {
        item["Name"] for item in definitions("classification") if not re.search(item["Regex"], alone.log, re.MULTILINE)
    }
    assert missing == {"validation:auc", "gpu_memory_gib", "running:loss"}


def test_the_log_has_whole_lines_and_no_noise(two):
    assert "\r" not in two.log
    assert "\x1b" not in two.log
    assert all(" INFO " in line for line in two.log.splitlines()), two.log


def test_the_artifact_is_whole_and_nothing_failed(alone):
    assert sorted(path.name for path in alone.paths.model.iterdir()) == ["twofold.json", "weights.safetensors"]
    assert read_manifest(alone.paths.model).metrics["validation:accuracy"] > 0.8
    assert alone.failure is None


def test_two_hosts_learn_the_same(make_tree, start_verb, channels, alone, meeting):
    """Two parents on this machine whose host names are addresses of the loopback."""
    hosts = ["127.0.0.1", "127.0.0.2"]
    cluster = {"hosts": hosts, "network_interface_name": "lo"}
    trees = [make_tree(channels, cluster={"current_host": host, **cluster}, **RUN) for host in hosts]
    runs = [start_verb(TRAIN, tree, environ=meeting) for tree in trees]
    assert [run.wait() for run in runs] == [0, 0], runs[0].log + runs[1].log
    assert losses(runs[0])[:5] == [pytest.approx(pair, abs=1e-5) for pair in losses(alone)[:5]]
    assert not runs[1].paths.model.exists(), "the model is written once, by the first host"


@pytest.mark.slow
def test_a_run_told_to_stop_goes_on_as_if_it_had_not(make_tree, start_verb, run_verb, channels, two):
    paths = make_tree(channels, **RUN, processes_per_host=2)
    paths.checkpoints.mkdir()
    stopped = start_verb(TRAIN, paths)
    stopped.wait_for("epoch=2 ")
    stopped.send(signal.SIGTERM)
    assert stopped.wait() == 0, stopped.log
    assert "told to stop: leaving after step" in stopped.log
    assert "model written to" in stopped.log
    assert stopped.failure is None
    assert len(stopped.history) < RUN["epochs"], "it ended before it was told to stop"
    resumed = run_verb(TRAIN, paths)
    assert "resuming at step" in resumed.log
    assert weights(resumed).keys() == weights(two).keys()
    assert all(torch.equal(weights(resumed)[name], tensor) for name, tensor in weights(two).items())
    assert [record["epoch"] for record in resumed.history] == list(range(1, RUN["epochs"] + 1))


def test_a_stop_before_the_first_step_is_143_and_no_failure(make_tree, start_verb, channels):
    run = start_verb(TRAIN, make_tree(channels, **RUN))
    run.wait_for("hyperparameters:")
    run.send(signal.SIGTERM)
    assert run.wait() == 143, run.log
    assert run.failure is None
    assert "Traceback" not in run.log


def test_a_stop_while_names_are_awaited_is_143(make_tree, start_verb, channels):
    hosts = {"current_host": "localhost", "hosts": ["localhost", "nowhere.invalid"]}
    run = start_verb(TRAIN, make_tree(channels, cluster=hosts, **RUN))
    run.wait_for("waiting for the name of host nowhere.invalid")
    run.send(signal.SIGTERM)
    assert run.wait() == 143, run.log


def ranks_of(parent):
    """Process ids of the ranks below a parent, by rank."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                environ = (entry / "environ").read_bytes().split(b"\0")
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            values = dict(pair.split(b"=", 1) for pair in environ if b"=" in pair)
            base = values.get(b"SAGEMAKER_BASE_DIR", b"").decode()
            if base == str(parent.paths.base) and b"twofold.train.program" in command and b"RANK" in values:
                found[int(values[b"RANK"])] = int(entry.name)
    return found


def test_a_killed_rank_ends_the_job_with_its_cause(make_tree, start_verb, channels):
    run = start_verb(TRAIN, make_tree(channels, **{**RUN, "epochs": 100_000}, processes_per_host=2))
    run.wait_for("epoch=2 ")
    os.kill(ranks_of(run)[1], signal.SIGKILL)
    assert run.wait() == 137, run.log
    assert run.failure.startswith("platform: rank 1: was killed by SIGKILL (signal 9): perhaps out of memory")
    assert not ranks_of(run)


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({"training": {"a.csv": "0,1\n1,x\n"}}, "data: Channel 'training', file a.csv: line 2, column 2 is 'x'"),
        (
            {"training": {"a.csv": "0,1\n1,2\n"}, "validation": {"v.csv": "0,1\n5,1\n"}},
            "data: Channel 'validation', file v.csv, line 2: label 5 is not among",
        ),
    ],
    ids=["one rank parses", "one rank looks"],
)
def test_a_fault_that_one_rank_finds_is_the_cause_for_all(make_tree, run_verb, files, text):
    run = run_verb(TRAIN, make_tree(files, **RUN, processes_per_host=2), expect=3)
    assert run.failure.startswith(text)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"epoch": 3}, "configuration: Unknown hyperparameter 'epoch'. Did you mean 'epochs'?"),
        ({"epochs": "many"}, "configuration: Hyperparameter 'epochs' is 'many'."),
        ({"batch_size": 1, "processes_per_host": 2}, "configuration: batch_size is 1, over 2 ranks"),
        ({"sagemaker_container_log_level": "loud"}, "configuration: hyperparameter sagemaker_container_log_level"),
    ],
)
def test_a_wrong_job_ends_before_torch_is_there(make_tree, run_verb, channels, parameters, text):
    run = run_verb(TRAIN, make_tree(channels, **parameters), expect=2)
    assert run.failure.startswith(text)
    assert text in run.log
    assert not run.paths.model.exists()


def test_a_file_of_the_job_that_is_no_json_is_named(make_tree, run_verb, channels):
    paths = make_tree(channels)
    paths.hyperparameters.write_text("{")
    assert f"{paths.hyperparameters}" in run_verb(TRAIN, paths, expect=2).failure


@pytest.fixture
def hostile(tmp_path):
    """A working directory with files that would be imported in place of libraries."""
    for name in ("torch", "train", "twofold", "flask", "numpy", "logging", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the file of the user was imported')\n")
    return tmp_path


@pytest.mark.slow
def test_what_lies_around_does_not_matter(alone, make_tree, run_verb, channels, hostile):
    """Keys of the platform, the SDK's quotes, files of the working directory, the failure file of an earlier run."""
    extra = {"_tuning_objective_metric": "validation:loss", "sagemaker_region": "eu-west-1", "epochs": '"30"'}
    paths = make_tree(channels, **{**RUN, **extra})
    paths.failure.parent.mkdir()
    paths.failure.write_text("left by an earlier run")
    run = run_verb(TRAIN, paths, cwd=hostile)
    assert losses(run) == losses(alone)
    assert run.failure is None


def test_a_rank_that_dies_before_it_can_speak_ends_the_job(make_tree, run_verb, channels, tmp_path):
    """Its peer waits for it to join: nothing but the agent can tell that it will not come."""
    (tmp_path / "sitecustomize.py").write_text("import os\nif os.environ.get('RANK') == '1':\n    os._exit(9)\n")
    paths = make_tree(channels, **RUN, processes_per_host=2)
    run = run_verb(TRAIN, paths, environ={"PYTHONPATH": str(tmp_path)}, expect=9)
    assert run.failure.startswith("user code: rank 1: ended with exit code 9 without an error: some code called exit")


@pytest.mark.slow
def test_what_verifies_the_program_tells_nobody(make_tree, run_verb, channels, tmp_path, monkeypatch):
    """ONNX Runtime would number the machine in the temporary folder, and send how it is used to its makers."""
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    paths = make_tree(channels, **{**RUN, "epochs": 1, "export_onnx": True})
    run = run_verb(TRAIN, paths, environ={"TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert read_manifest(run.paths.model).onnx is not None
    assert not (tmp_path / ".ses").exists()
    assert not list(tmp_path.rglob("*onnxruntime*"))
