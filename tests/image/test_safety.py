"""What a security team asks of the image: no rights, a list of all that is in it, no secret, no stranger's code."""

import io
import json
import re
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

# Files beside which a job may be started, and which an import would take for the library of that name.
HOSTILE = ("train", "serve", "prepare", "monitor", "flask", "torch", "twofold", "numpy", "logging", "json", "click")
VERBS = {
    "train": "Usage: train",
    "serve": "Usage: serve",
    "prepare": "Usage: prepare",
    "monitor": "Usage: monitor",
    "twofold": "Usage: twofold",
    "twofold auto": "Usage: ",
    "twofold doctor": "Usage: ",
    "twofold ledger": "Usage: ",
    "twofold metrics": "Usage: ",
}
SECRET = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b|aws_secret_access_key *= *[0-9A-Za-z/+]{40}"
)
CAPABILITIES = """
import os
for root, _, files in os.walk("/"):
    if not root.startswith(("/proc", "/sys")):
        for path in (os.path.join(root, name) for name in files):
            if not os.path.islink(path) and "security.capability" in os.listxattr(path):
                print(path)
"""


@pytest.fixture(scope="module")
def bill(docker: Callable, image: str) -> dict:
    """The software bill of materials, at the place that the label names."""
    place = docker("image", "inspect", "--format", '{{index .Config.Labels "twofold.sbom"}}', image).stdout.strip()
    return json.loads(docker("run", "--rm", image, "cat", place).stdout)


def test_the_bill_is_cyclonedx(bill: dict) -> None:
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["type"] == "container"


def test_the_bill_lists_what_is_installed(bill: dict, run: Callable) -> None:
    listed = {(part["purl"].partition("/")[0], part["name"].lower(), part["version"]) for part in bill["components"]}
    python = json.loads(run("pip3", "list", "--format", "json").stdout)
    debian = run("dpkg-query", "-W", "-f", "${Package} ${Version}\n").stdout.splitlines()
    wanted = {("pkg:pypi", part["name"].lower(), part["version"]) for part in python}
    wanted |= {("pkg:deb", *line.split()) for line in debian}
    assert listed == wanted


def test_every_locked_package_is_in_the_bill(bill: dict) -> None:
    lock = (Path(__file__).parents[2] / "docker" / "locks" / "runtime.txt").read_text().splitlines()
    locked = {line.split("==")[0] for line in lock if line[:1].isalpha()}
    listed = {part["name"].lower().replace("_", "-").replace(".", "-") for part in bill["components"]}
    # What is for another system stands in the lock with its condition.
    assert {name for name in locked if name.replace(".", "-") not in listed} <= {"colorama", "tzdata", "pywin32"}


def test_no_file_has_a_capability(run: Callable) -> None:
    done = run("python3", "-c", CAPABILITIES)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_no_cache_of_a_package_manager_is_left(run: Callable) -> None:
    places = ("/var/lib/apt/lists", "/var/cache/apt", "/root/.cache", "/tmp", "/var/log")
    done = run("find", *places, "-type", "f", "-print")
    assert done.stdout == ""


def test_nothing_in_tmp_belongs_to_who_built_the_image(run: Callable) -> None:
    # Caches go to /tmp/cache: one of root's would be in the way of every other user.
    assert run("find", "/tmp", "-mindepth", "1").stdout == ""


def test_no_setting_of_the_machine_that_built_it_is_left(docker: Callable, run: Callable, image: str) -> None:
    assert run("sh", "-c", "ls /etc/pip.conf /root/.config/pip /root/.netrc /opt/links /opt/ca.crt").stdout == ""
    told = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image).stdout
    told += docker("image", "inspect", "--format", "{{json .Config}}", image).stdout
    assert "index-url" not in told.lower().replace("torch_index", "")


def test_no_layer_holds_a_secret(docker: Callable, image: str) -> None:
    """Each layer by itself: what a later one deletes can still be read."""
    found = []
    with (
        subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saved,
        tarfile.open(fileobj=saved.stdout, mode="r|") as whole,
    ):
        for entry in whole:
            if not entry.isfile():
                continue
            content = whole.extractfile(entry)
            if entry.size <= 1 << 20:
                # A small layer, or what describes the image: its history and its environment.
                content = io.BytesIO(content.read())
                if not is_layer(content):
                    found += [entry.name] if SECRET.search(content.getvalue()) else []
                    continue
            with tarfile.open(fileobj=content, mode="r|*") as layer:
                found += [f"{entry.name}: {part.name}" for part in layer if part.isfile() and secret(layer, part)]
    assert found == []


def is_layer(content: io.BytesIO) -> bool:
    """Whether it is a tar archive, which an empty layer is, too."""
    found = tarfile.is_tarfile(content)
    content.seek(0)
    return found


def secret(layer: tarfile.TarFile, part: tarfile.TarInfo) -> bool:
    """Whether a file is, or holds, a key; libraries' own documentation shows some that are none."""
    if part.name.endswith((".netrc", "/credentials", "/id_rsa", "/pip.conf")):
        return True
    if part.size > 1 << 20 or part.name.startswith("opt/venv/lib"):
        return False
    return SECRET.search(layer.extractfile(part).read()) is not None


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_imports_nothing_of_the_folder_it_starts_in(run: Callable, tmp_path: Path, verb: str) -> None:
    for name in HOSTILE:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the file of a stranger was imported')\n")

    done = run(*verb.split(), "--help", flags=["--volume", f"{tmp_path}:/work:ro", "--workdir", "/work"])

    assert done.returncode == 0, done.stderr
    assert VERBS[verb] in done.stdout


def test_jobs_and_endpoints_import_nothing_of_the_folder_they_start_in(
    run: Callable, start: Callable, opt_ml: Callable, tmp_path: Path
) -> None:
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name in HOSTILE:
        (folder / f"{name}.py").write_text("raise SystemExit('the file of a stranger was imported')\n")
    flags = ["--volume", f"{folder}:/work:ro", "--workdir", "/work"]
    tree = opt_ml(epochs=1, processes_per_host=2)

    job = run("train", opt_ml=tree, flags=flags)
    assert job.returncode == 0, job.stdout + job.stderr
    shards = run("prepare", "/opt/ml/input/data/training", "/tmp/out", "--format", "npy", opt_ml=tree, flags=flags)
    assert shards.returncode == 0, shards.stderr
    start("serve", opt_ml=tree, flags=flags).wait_for_ping()
