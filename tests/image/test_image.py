"""How the image starts and what is in it, before any model: contract.md 1.1, 1.14, 2.1, 2.12, 3, 4 and 7.1."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

UNPACKED_LIMIT = 1.5e9

# What the serverless host grants: nobody's user id, nothing to write but a temporary folder, hardly any shared memory.
SERVERLESS = ("--read-only", "--tmpfs", "/tmp:size=64m", "--network", "none", "--shm-size", "1m")  # fmt: skip

EXCHANGE = """
import torch, torch.distributed
torch.distributed.init_process_group("gloo")
total = torch.ones(1)
torch.distributed.all_reduce(total)
if torch.distributed.get_rank() == 0:
    print("total", int(total))
torch.distributed.destroy_process_group()
"""

SUDDEN = (Path(__file__).parents[1] / "scripts" / "sudden.py").read_text()


@pytest.fixture(scope="module")
def config(docker: Callable, image: str) -> dict:
    return json.loads(docker("image", "inspect", "--format", "{{json .Config}}", image).stdout)


def test_labels_tell_sagemaker_what_the_image_can(config: dict) -> None:
    capability = "com.amazonaws.sagemaker.capabilities."
    assert config["Labels"][capability + "multi-models"] == "true"
    assert config["Labels"][capability + "accept-bind-to-port"] == "true"
    assert config["Labels"][capability + "bidirectional-streaming"] == "true"


def test_labels_tell_where_the_image_comes_from(config: dict) -> None:
    found = {
        key.rpartition(".")[2]: text for key, text in config["Labels"].items() if key.startswith("org.opencontainers.")
    }
    assert (found["title"], found["licenses"]) == ("twofold", "Apache-2.0")
    assert found["version"] not in ("", "0")
    assert found["revision"] not in ("", "unknown")


def test_nothing_stands_before_a_command_and_the_default_is_in_exec_form(config: dict) -> None:
    assert not config.get("Entrypoint")
    assert config["Cmd"] == ["twofold", "auto"]
    assert not config.get("User")
    assert list(config["ExposedPorts"]) == ["8080/tcp"]


def test_a_foreign_command_runs_as_it_is(run: Callable) -> None:
    done = run(
        "python3", "-c", "import os, sys; print(os.getpid(), sys.argv[1:]); sys.exit(7)", "a  b", "$HOME", "train"
    )

    assert done.stdout == "1 ['a  b', '$HOME', 'train']\n"
    assert done.returncode == 7


@pytest.mark.parametrize("verb", ["train", "serve", "twofold"])
def test_the_verbs_are_programs_of_their_own(run: Callable, verb: str) -> None:
    assert run("sh", "-c", f"command -v {verb}").stdout == f"/opt/venv/bin/{verb}\n"


def test_no_command_and_nothing_mounted_prints_help(run: Callable) -> None:
    done = run()

    assert "Usage: " in done.stdout
    assert {"train", "serve"} <= set(done.stdout.split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [["train"], []], ids=["train", "no command"])
def test_a_training_job_is_found_without_a_command(run: Callable, opt_ml: Callable, command: list[str]) -> None:
    tree = opt_ml(channels={}, no_such_parameter=1)

    done = run(*command, opt_ml=tree)

    assert done.returncode == 2
    assert "no_such_parameter" in (tree / "output" / "failure").read_text()


@pytest.mark.parametrize("command", [["serve"], []], ids=["serve", "no command"])
def test_a_model_is_served_without_a_command(start: Callable, tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "twofold.json").write_text("{}")

    container = start(*command, opt_ml=tmp_path)

    # The manifest is no manifest: the server says so, with the name of the file, whether it then stays up or ends.
    container.wait_for_log("twofold.json")
    assert "Traceback" not in container.logs()


def test_the_sdk_finds_its_tools_behind_a_shell(run: Callable) -> None:
    done = run(
        "-c", "set -e; python3 -V; pip3 -V; torchrun --help; command -v chmod cat", flags=["--entrypoint", "/bin/bash"]
    )

    assert done.returncode == 0, done.stderr
    python, pip, *_ = done.stdout.splitlines()
    assert python.startswith("Python 3.11.")
    assert "/opt/venv/" in pip
    assert "usage: torchrun" in done.stdout


def test_what_is_installed_fits_together(run: Callable) -> None:
    done = run("pip3", "check", flags=["--network", "none"])
    assert done.returncode == 0, done.stdout


def test_it_is_small(run: Callable) -> None:
    done = run("du", "--summarize", "--one-file-system", "--block-size", "1", "/")
    assert int(done.stdout.split()[0]) <= UNPACKED_LIMIT


def test_no_program_changes_the_user(run: Callable) -> None:
    assert run("find", "/", "-xdev", "-type", "f", "-perm", "/6000").stdout == ""


def test_no_compiler_and_no_downloader_is_there(run: Callable) -> None:
    done = run("bash", "-c", "type -P gcc cc g++ c++ clang ld as make curl wget")
    assert done.stdout == ""


@pytest.mark.parametrize("user", ["0:0", "65534:65534", "12345:12345"])
def test_any_user_can_read_everything(run: Callable, user: str) -> None:
    done = run("find", "/opt", "/usr/lib/python3.11", "!", "-readable", flags=["--user", user])
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("user", ["0:0", "65534:65534", "12345:12345"])
def test_processes_exchange_tensors_where_nothing_can_be_written(run: Callable, tmp_path: Path, user: str) -> None:
    script = tmp_path / "exchange.py"
    script.write_text(EXCHANGE)
    tmp_path.chmod(0o755)

    mount = ["--user", user, "--volume", f"{script}:/mnt/exchange.py:ro"]
    # Without a network not even the container's own name resolves.
    launch = ["torchrun", "--standalone", "--local-addr", "localhost", "--nproc-per-node", "2", "/mnt/exchange.py"]
    done = run(*launch, environ={"GLOO_SOCKET_IFNAME": "lo"}, flags=[*SERVERLESS, *mount], timeout=60)

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["total", "2"]


def test_a_script_that_others_start_ends_well_after_its_last_collective(run: Callable) -> None:
    done = run("python3", "-c", SUDDEN)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("user", ["0:0", "65534:65534", "12345:12345"])
def test_help_needs_no_rights(run: Callable, user: str) -> None:
    done = run(flags=[*SERVERLESS, "--user", user])
    assert "Usage: " in done.stdout, done.stderr
