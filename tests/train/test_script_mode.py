"""Real `train` runs of scripts of the user's own: what they find, how they end, on one process and several."""

import io
import json
import os
import signal
import subprocess
import sys
import sysconfig
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.procs

TRAIN = "twofold.train"
EXAMPLE = Path(__file__).parents[2] / "examples" / "script"


@pytest.fixture
def job(make_tree, classes):
    """job(script, **hyperparameters): a tree with a script as /opt/ml/code/train.py, and a channel."""

    def make(script, channels=None, program="train.py", **hyperparameters):
        paths = make_tree(channels or {"train": {"a.csv": classes(40)}}, sagemaker_program=program, **hyperparameters)
        if script is not None:
            paths.code.mkdir()
            (paths.code / program).write_text(script)
        return paths

    return make


ASKS = """
import json, os, sys
import beside
print("args", json.dumps(sys.argv[1:]))
print("model", os.environ["SM_MODEL_DIR"], "channel", os.environ["SM_CHANNEL_TRAIN"], beside.X)
print("hps", os.environ["SM_HPS"], os.getcwd())
os.makedirs(os.environ["SM_MODEL_DIR"], exist_ok=True)
open(os.environ["SM_MODEL_DIR"] + "/model.txt", "w").write("mine")
"""


def test_a_script_finds_what_sagemaker_promises(job, run_verb):
    paths = job(ASKS, learning_rate=0.5, name="adam", sagemaker_region="eu-west-1", _tuning_objective_metric="loss")
    (paths.code / "beside.py").write_text("X = 7\n")
    run = run_verb(TRAIN, paths)
    assert 'args ["--learning_rate", "0.5", "--name", "adam"]\n' in run.log
    assert f"model {paths.model} channel {paths.channel('train')} 7\n" in run.log
    assert f'hps {{"learning_rate":0.5,"name":"adam"}} {paths.code}\n' in run.log
    assert (paths.model / "model.txt").read_text() == "mine"
    assert run.failure is None


def test_the_example_with_scikit_learn_runs_as_it_is(make_tree, run_verb, classes):
    paths = make_tree(
        {"train": {"a.csv": classes(60)}},
        **{"sagemaker_program": "train.py", "sagemaker_submit_directory": str(EXAMPLE), "C": 0.5, "max-iter": 200},
    )
    run = run_verb(TRAIN, paths, environ={"PIP_NO_INDEX": "1"})
    assert "Requirement already satisfied: scikit-learn" in run.log
    assert "train:accuracy=" in run.log
    assert json.loads((paths.model / "about.json").read_text()) == {"rows": 60, "C": 0.5}
    assert np.load(paths.model / "weights.npz")["coef"].shape == (3, 3)


DISTRIBUTED = """
import os, torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.tensor([dist.get_rank() + 1.0])
dist.all_reduce(total)
print(f"rank={dist.get_rank()} world={dist.get_world_size()} total={total.item():g}", flush=True)
dist.destroy_process_group()
"""


def test_torch_distributed_on_two_processes(job, run_verb):
    run = run_verb(TRAIN, job(DISTRIBUTED, sagemaker_mpi_num_of_processes_per_host=2))
    for rank in range(2):
        assert f"[rank {rank}] rank={rank} world=2 total=3\n" in run.log


STREAMS = """
import os
from twofold import StreamingDataset, StreamingLoader
loader = StreamingLoader(StreamingDataset(os.environ["SM_CHANNEL_TRAIN"]), batch_size=8, seed=1)
print("samples", sum(len(batch["label"]) for batch in loader))
"""


def test_a_script_streams_with_our_loader(job, run_verb):
    assert "samples 40\n" in run_verb(TRAIN, job(STREAMS)).log


def test_the_exit_code_and_the_line_of_a_failure_are_kept(job, run_verb):
    script = "import numpy as np\n\n\ndef step():\n    np.zeros(3).reshape(2, 2)\n\n\nstep()\n"
    paths = job(script)
    run = run_verb(TRAIN, paths, expect=1)
    assert run.failure.startswith("user code: ValueError: cannot reshape array of size 3 into shape (2,2) (at ")
    assert f"(at {paths.code}/train.py:5 in step: np.zeros(3).reshape(2, 2))" in run.failure
    assert "Traceback (most recent call last):\n" in run.log
    assert "ended with exit code 42" in run_verb(TRAIN, job("import sys\nsys.exit(42)\n"), expect=42).failure


FAILS_ALONE = """
import os, torch, torch.distributed as dist
dist.init_process_group("gloo")
dist.barrier()
if dist.get_rank() == 1:
    raise ValueError("only rank 1")
dist.all_reduce(torch.zeros(1))
"""


def test_the_rank_that_failed_is_named_not_its_peer(job, run_verb):
    run = run_verb(TRAIN, job(FAILS_ALONE, sagemaker_mpi_num_of_processes_per_host=2), expect=1)
    assert run.failure.startswith("user code: rank 1: ValueError: only rank 1 (at ")
    assert "rank 1: user code: rank 1: ValueError" in run.log


WAITS_ON = """
import os, signal, time
import torch.distributed as dist
signal.signal(signal.SIGTERM, signal.SIG_IGN)
store = dist.TCPStore("localhost", int(os.environ["MASTER_PORT"]), is_master=False)
if os.environ["RANK"] == "1":
    store.wait(["waits"])
    print("raises", flush=True)
    raise ValueError("only rank 1")
store.set("waits", "yes")
while True: time.sleep(1)
"""


@pytest.mark.slow
def test_a_peer_that_waits_on_and_does_not_listen_is_ended_10_s_later(job, start_verb):
    run = start_verb(TRAIN, job(WAITS_ON, sagemaker_mpi_num_of_processes_per_host=2))
    run.wait_for("[rank 1] raises")
    raised = time.monotonic()
    assert run.wait() == 1, run.log
    assert 9 < time.monotonic() - raised < 15
    assert run.failure.startswith("user code: rank 1: ValueError: only rank 1 (at ")


def test_the_scripts_own_failure_file_wins(job, run_verb):
    script = "import os, sys\nopen(os.environ['SM_OUTPUT_DIR'] + '/failure', 'w').write('my own words')\nsys.exit(9)\n"
    paths = job(script)
    paths.output.mkdir()
    assert run_verb(TRAIN, paths, expect=9).failure == "my own words"


SAVES = """
import os, signal, sys, time
def save(*_):
    print("saved", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
while True: time.sleep(0.1)
"""


@pytest.mark.parametrize("processes", [1, 2])
def test_a_stop_reaches_every_process_of_a_script(job, start_verb, processes):
    run = start_verb(TRAIN, job(SAVES, sagemaker_mpi_num_of_processes_per_host=processes))
    for rank in range(processes):
        run.wait_for("ready\n" if processes == 1 else f"[rank {rank}] ready\n")
    run.send(signal.SIGTERM)
    assert run.wait() == 0, run.log
    assert run.log.count("saved\n") == processes
    assert run.failure is None


ONE_SAVES = """
import os, signal, sys, time
def save(*_):
    time.sleep(34)
    print("saved", flush=True)
    sys.exit(0)
if os.environ["RANK"] == "0": signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
while True: time.sleep(0.1)
"""


@pytest.mark.slow
def test_the_one_rank_that_saves_has_its_time_where_a_stop_ends_the_others(job, start_verb):
    """torchrun would kill it 30 s after them."""
    run = start_verb(TRAIN, job(ONE_SAVES, sagemaker_mpi_num_of_processes_per_host=2))
    for rank in range(2):
        run.wait_for(f"[rank {rank}] ready\n")
    run.send(signal.SIGTERM)
    assert run.wait() == 143, run.log
    assert "[rank 0] saved\n" in run.log
    assert run.failure is None


def test_a_script_that_does_not_listen_to_a_stop_is_no_failure(job, start_verb):
    run = start_verb(TRAIN, job("import time\nprint('ready', flush=True)\ntime.sleep(600)\n"))
    run.wait_for("ready\n")
    run.send(signal.SIGTERM)
    assert run.wait() == 143, run.log
    assert run.failure is None


def test_a_shell_script_gets_its_arguments_unharmed(job, run_verb):
    script = 'printf "<%s>" "$@"\necho\nexit 3\n'
    run = run_verb(TRAIN, job(script, program="run.sh", text="a b; $(touch /tmp/harm) 'c"), expect=3)
    assert "<--text><a b; $(touch /tmp/harm) 'c>\n" in run.log
    assert run.failure.startswith("user code: run.sh ended with exit code 3: <--text><a b; $(touch /tmp/harm) 'c>")


@pytest.mark.parametrize(
    ("member", "text"),
    [
        (None, "configuration: sagemaker_program is 'train.py', and"),
        ("../train.py", "has a member '../train.py', which would lie outside of its folder"),
    ],
)
def test_code_that_is_missing_or_means_harm_ends_the_job(job, run_verb, tmp_path, member, text):
    submit = {}
    if member:
        with tarfile.open(tmp_path / "sourcedir.tar.gz", "w:gz") as archive:
            archive.addfile(tarfile.TarInfo(member), io.BytesIO())
        submit = {"sagemaker_submit_directory": str(tmp_path / "sourcedir.tar.gz")}
    run = run_verb(TRAIN, job(None, **submit), expect=2)
    assert text in run.failure
    assert "Traceback" not in run.log


@pytest.fixture(scope="module")
def own_python(tmp_path_factory):
    """A Python with all of this one's packages, whose own may be installed into."""
    folder = tmp_path_factory.mktemp("python")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=120)
    library = folder / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    (library / "ours.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    return folder / "bin" / "python"


def test_requirements_are_installed_from_a_folder_of_wheels(job, own_python, make_wheel, tmp_path):
    paths = job("import tinywheel\nprint('version', tinywheel.VERSION)\n")
    (paths.code / "requirements.txt").write_text("tinywheel>=1.0\n")
    make_wheel(tmp_path)
    done = subprocess.run(
        [own_python, "-P", "-m", TRAIN],
        env={
            **os.environ,
            "SAGEMAKER_BASE_DIR": str(paths.base),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Successfully installed tinywheel-1.0" in done.stdout
    assert done.stdout.endswith("version 1.0\n")
