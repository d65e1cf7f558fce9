"""How a script is started: by torchrun or alone, with which command, arguments and variables."""

import sys
from pathlib import Path

import pytest
from twofold.contract.cluster import Cluster
from twofold.contract.hyperparameters import Hyperparameters
from twofold.contract.job import TrainingJob
from twofold.contract.paths import Paths
from twofold.errors import ConfigError
from twofold.train.script import find_entry, plan_script

TWO = Cluster(hosts=("a", "b"), current_host="b", interface="eth7")
RANK = ["-m", "twofold.train.script_rank"]


def plan(program="train.py", entry=(sys.executable, "train.py"), *, cluster=None, gpus=0, user=None, **framework):
    job = TrainingJob(
        paths=Paths(Path("/nowhere")),
        cluster=cluster or Cluster(),
        hyperparameters=Hyperparameters(user=user or {}, framework=framework),
        program=program,
    )
    return plan_script(
        job, {"HOME": "/home"}, Path("/code"), list(entry), cpus=4, gpus=gpus, directory=Path("/scratch")
    )


def test_one_process_is_started_without_torchrun():
    found = plan(user={"lr": 0.1, "b": True, "epochs": 3})
    assert found.argv == [
        *(sys.executable, *RANK, "/code", sys.executable, "train.py"),
        *("-b", "True", "--epochs", "3", "--lr", "0.1"),
    ]
    assert not found.has_ranks
    assert found.environ["SM_HP_LR"] == "0.1"
    assert found.environ["SM_MODEL_DIR"] == "/nowhere/model"
    assert found.environ["SM_USER_ENTRY_POINT"] == "train.py"
    assert found.environ["HOME"] == "/home"
    assert found.environ["OMP_NUM_THREADS"] == "4"
    assert found.environ["TWOFOLD_SCRATCH"] == "/scratch"


@pytest.mark.parametrize(
    ("options", "processes"),
    [
        ({"gpus": 4}, 4),
        ({"cluster": TWO}, 1),
        ({"sagemaker_mpi_num_of_processes_per_host": 3, "gpus": 8}, 3),
        ({"sagemaker_torch_distributed_enabled": True}, 1),
        ({"sagemaker_pytorch_ddp_enabled": True}, 1),
    ],
    ids=["GPUs", "hosts", "as many as asked", "asked for", "asked for as DDP"],
)
def test_torchrun_starts_the_ranks(options, processes):
    found = plan(**options)
    assert found.argv[:4] == [sys.executable, "-P", "-m", "twofold.train.agent"]
    assert f"--nproc-per-node={processes}" in found.argv
    assert found.argv[-5:] == [*RANK, "/code", sys.executable, "train.py"]
    assert found.has_ranks


@pytest.mark.parametrize(
    ("program", "entry", "options"),
    [
        ("train.py", (sys.executable, "train.py"), {"sagemaker_torch_distributed_enabled": False}),
        ("train.sh", ("bash", "train.sh"), {}),
    ],
)
def test_each_host_starts_its_own_where_torchrun_is_not_wanted(program, entry, options):
    found = plan(program, entry, cluster=TWO, gpus=8, **options)
    assert found.argv == [sys.executable, *RANK, "/code", *entry]
    assert (found.environ["MASTER_ADDR"], found.environ["MASTER_PORT"]) == ("a", "7777")


@pytest.mark.parametrize(
    ("program", "options", "text"),
    [
        ("train.py", {"sagemaker_mpi_enabled": True}, "sagemaker_mpi_enabled asks for MPI"),
        ("train.py", {"sagemaker_parameter_server_enabled": True}, "asks for parameter servers"),
        ("train.sh", {"sagemaker_torch_distributed_enabled": True}, "'train.sh' is no Python script"),
    ],
)
def test_a_launcher_that_is_not_here_is_refused(program, options, text):
    entry = ("bash", program) if program.endswith(".sh") else (sys.executable, program)
    with pytest.raises(ConfigError, match=text):
        plan(program, entry, **options)


@pytest.fixture
def code(tmp_path):
    for name in ("train.py", "nested/other.py", "run.sh", "native", "data.csv", "setup.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "native").chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("program", "entry"),
    [
        ("train.py", [sys.executable, "train.py"]),
        ("nested/other.py", [sys.executable, "nested/other.py"]),
        ("run.sh", ["bash", "run.sh"]),
        ("package", [sys.executable, "-m", "package"]),
    ],
)
def test_a_script_is_started_by_what_it_is(code, program, entry):
    assert find_entry(code, program) == entry


def test_an_executable_is_started_as_it_is(code):
    assert find_entry(code, "native") == [str(code / "native")]


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("trian.py", r"has no such file \(Python files there: setup.py, train.py\)"),
        ("data.csv", "no Python file, no .sh and not executable"),
    ],
)
def test_a_script_that_cannot_be_started_is_named(code, program, text):
    with pytest.raises(ConfigError, match=text):
        find_entry(code, program)


def test_a_folder_that_is_not_there_holds_no_script(tmp_path):
    with pytest.raises(ConfigError, match="Python files there: none"):
        find_entry(tmp_path / "code", "train.py")
