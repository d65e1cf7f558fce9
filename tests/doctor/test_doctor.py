"""The report about a machine and a job: real trees, a pretended machine where this one is too good."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from twofold.contract import machine, memory, network
from twofold.contract.job import read_training_job
from twofold.contract.memory import Usage
from twofold.doctor.__main__ import look, screen
from twofold.train import checkup
from twofold.train.checkup import Finding, examine

DATA = {"training": {"a.csv": "0,1\n1,2\n"}}


def findings(paths, *topics, environ=None, resolve=False):
    """Findings of a job, those of some topics only."""
    job = read_training_job(paths, environ or {})
    found = examine(job, environ or {"PATH": "/nowhere"}, resolve=resolve)
    return [finding for finding in found if not topics or finding.topic in topics]


def faults(paths):
    return [finding.text for finding in findings(paths) if finding.level == "fault"]


@pytest.mark.parametrize("as_json", [False, True])
def test_a_job_that_can_work(make_tree, as_json):
    paths = make_tree(DATA, batch_size=2)
    command = [sys.executable, "-m", "twofold", "doctor", *(["--json"] if as_json else [])]
    environ = {**os.environ, "SAGEMAKER_BASE_DIR": str(paths.base)}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    if as_json:
        found = {one["topic"]: one for one in json.loads(done.stdout)}
        assert found["channel training"]["text"].startswith("File mode, 1 files, 0.000 GB, ")
        assert found["channel training"]["level"] == "ok"
        assert {"CPUs", "GPUs", "torch", "memory", "/dev/shm", "data volume", "network", "EFA"} < found.keys()
    else:
        assert "  CPUs  " in done.stdout
        assert "\nThe job can work: 0 faults (x), " in done.stdout
        assert len(done.stdout.splitlines()) < 40, "it fits on one screen"


def test_a_job_that_cannot_work_ends_with_the_reason(make_tree):
    environ = {**os.environ, "SAGEMAKER_BASE_DIR": str(make_tree(DATA, epoch=3).base)}
    command = [sys.executable, "-m", "twofold", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False, timeout=120)
    assert done.returncode == 2
    assert "x job " in done.stdout
    assert "Unknown hyperparameter 'epoch'. Did you mean 'epochs'?" in done.stdout
    assert "\nThe job cannot work: 1 faults (x)" in done.stdout


@pytest.mark.parametrize(
    ("files", "settings", "text"),
    [
        ({}, {}, "no training channel, found: none. Expected one called 'training' or 'train'"),
        ({"training": {}}, {}, "empty: no file in "),
        (DATA, {"batch_size": 1, "processes_per_host": 2}, "batch_size is 1, over 2 ranks"),
    ],
)
def test_what_makes_a_job_impossible(make_tree, files, settings, text):
    (found,) = faults(make_tree(files, **settings))
    assert text in found


def test_a_job_that_cannot_be_read(make_tree):
    paths = make_tree(DATA)
    paths.hyperparameters.write_text("{")
    (found,) = look({"SAGEMAKER_BASE_DIR": str(paths.base)})
    assert found.level == "fault"
    assert str(paths.hyperparameters) in screen([found])


def test_a_script_needs_no_training_channel(make_tree):
    paths = make_tree({}, sagemaker_program="train.py")
    assert not faults(paths)
    assert [one.text for one in findings(paths, "job")] == ["unnamed, host localhost (1 of 1), script train.py"]


def test_a_setting_of_a_script_that_is_no_number(make_tree):
    environ = {"PATH": "/nowhere", "TWOFOLD_HANG_TIMEOUT": "soon"}
    (found,) = findings(make_tree({}, sagemaker_program="train.py"), "job", environ=environ)
    assert found.level == "fault"
    assert "TWOFOLD_HANG_TIMEOUT is 'soon'. Expected seconds" in found.text


def test_channels_that_may_be_empty_or_are_pipes(make_tree):
    config = {
        "train": {"TrainingInputMode": "Pipe"},
        "validation": {"TrainingInputMode": "File", "S3DistributionType": "ShardedByS3Key"},
    }
    paths = make_tree({}, config=config)
    assert not faults(paths)
    assert findings(paths, "channel train")[0].text == f"Pipe mode, {paths.channel('train')}_0"
    assert "0 files" in findings(paths, "channel validation")[0].text


def test_a_channel_of_many_files_is_counted_up_to_a_bound(make_tree, monkeypatch):
    monkeypatch.setattr(checkup, "_COUNTED_FILES", 2)
    paths = make_tree({"training": {f"{n}.csv": "0,1\n" for n in range(5)}})
    assert findings(paths, "channel training")[0].text.startswith("File mode, over 2 files")


def test_a_checkpoint_is_found(make_tree):
    paths = make_tree(DATA)
    (paths.checkpoints / "step-000000400").mkdir(parents=True)
    (found,) = findings(paths, "checkpoint")
    assert (found.level, found.text[:14]) == ("adapted", "step-000000400")


def test_a_poor_machine(make_tree, monkeypatch):
    monkeypatch.setattr(machine, "shm_bytes", lambda: 64 << 20)
    monkeypatch.setattr(memory, "usage", lambda cgroup: Usage(95, 100, 0, 0))
    monkeypatch.setattr(checkup.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    levels = {one.topic: one.level for one in findings(make_tree(DATA))}
    assert levels["/dev/shm"] == "adapted"
    assert levels["memory"] == levels["data volume"] == levels["scratch"] == "warning"


def test_gpus_that_this_build_of_torch_cannot_use(make_tree, monkeypatch):
    monkeypatch.setattr(machine, "gpu_details", lambda environ: ["NVIDIA A10G, 23028 MiB, driver 580.1"])
    monkeypatch.setattr(checkup.importlib.metadata, "version", lambda name: "2.13.0+cpu")
    found = {one.topic: one for one in findings(make_tree(DATA), "GPUs", "torch")}
    assert found["GPUs"].text == "NVIDIA A10G, 23028 MiB, driver 580.1"
    assert found["torch"].level == "warning"
    monkeypatch.setattr(checkup.importlib.metadata, "version", lambda name: "2.13.0+cu130")
    assert findings(make_tree(DATA), "torch")[0].level == "ok"


def test_several_hosts(make_tree, monkeypatch):
    monkeypatch.setattr(network, "efa_devices", lambda: ["rdmap0"])
    monkeypatch.setattr(network, "efa_missing", lambda: ["/opt/amazon/efa"])
    hosts = {"current_host": "localhost", "hosts": ["localhost", "nowhere.invalid"], "network_interface_name": "ethwe"}
    found = {one.topic: one for one in findings(make_tree(DATA, cluster=hosts), resolve=True)}
    assert (found["EFA"].level, found["EFA"].text[:18]) == ("warning", "rdmap0, not used: ")
    assert found["interface"].level == "adapted"
    assert found["hosts"].text.startswith("nowhere.invalid does not resolve")


def test_the_driver_describes_its_gpus(tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA A10G, 23028 MiB, 580.1'\n")
    program.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert machine.gpu_details(environ) == ["NVIDIA A10G, 23028 MiB, driver 580.1"]
    program.write_text("#!/bin/sh\nexit 9\n")
    assert machine.gpu_details(environ) == []
    assert machine.gpu_details({"PATH": "/nowhere"}) == []


def test_the_screen_marks_lines_by_their_level():
    text = screen([Finding("a", "1"), Finding("bb", "2", "adapted"), Finding("c", "3", "warning")])
    assert text.splitlines()[:3] == ["  a   1", "~ bb  2", "! c   3"]
