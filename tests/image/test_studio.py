"""The image for SageMaker Studio: contract.md 9.2."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from .conftest import Container, wait_until

USER = ("--user", "1000:100")
# What each notebook prints when it has done what it is about.
NOTEBOOKS = {
    "train_and_serve.ipynb": r"exit code 0\naccuracy (0\.9\d\d|1\.000)\n",
    "own_model.ipynb": r"code/waves\.py\nmodel\.onnx\ntwofold\.json\nweights\.safetensors\nerror 0\.0\d\d\n",
    "drift.ipynb": r"income - baseline_drift_check - ",
    "rehearse.ipynb": r"InService\n[\d.e,-]+\n[\d.e,-]+\n",
}


@pytest.fixture
def lab(docker: Callable, studio: str, names: Callable[[], str]) -> Iterator[Container]:
    """JupyterLab, started as the platform does."""
    name = names()
    docker("run", "--detach", "--name", name, *USER, "--publish", "127.0.0.1::8888", studio, "jupyterlab")
    yield Container(name)
    docker("rm", "--force", "--volumes", name, check=False)


def status(url: str) -> int:
    try:
        return urllib.request.urlopen(url, timeout=5).status
    except (urllib.error.URLError, ConnectionError):
        return 0


@pytest.mark.timeout(600)
def test_jupyterlab_answers_where_studio_asks(docker: Callable, lab: Container) -> None:
    place = docker("port", lab.name, "8888/tcp").stdout.splitlines()[0]
    health = f"http://{place}/jupyterlab/default/api/status"
    wait_until(lambda: status(health) == 200, health, seconds=60)
    # No token is asked for, and the extension that tells when nobody works any more is there.
    assert status(f"http://{place}/jupyterlab/default/lab") == 200
    assert status(f"http://{place}/jupyterlab/default/api/idle") == 200
    assert lab.execute("id", "-un").stdout == "sagemaker-user\n"
    assert lab.execute("jupyter", "kernelspec", "list").stdout.count("python3") >= 1


def test_it_has_the_tools_of_studio_and_no_more_rights(docker: Callable, studio: str) -> None:
    found = docker("run", "--rm", studio, "bash", "-c", "type -P curl unzip tar gzip").stdout
    assert len(found.splitlines()) == 4
    assert docker("run", "--rm", studio, "pip3", "check").returncode == 0
    search = ("find", "/", "-xdev", "-perm", "/6000", "-type", "f")
    assert docker("run", "--rm", "--user", "0", studio, *search).stdout == ""


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_notebooks_run_in_it(docker: Callable, studio: str, name: str) -> None:
    """From the first cell to the last, by nbclient, as Studio's user and without a network."""
    execute = (
        f"cp /usr/share/twofold/notebooks/{name} /tmp/ && cd /tmp && jupyter execute --inplace {name} >&2 && cat {name}"
    )
    done = docker("run", "--rm", *USER, "--network", "none", studio, "bash", "-c", execute, timeout=280)
    outputs = [output for cell in json.loads(done.stdout)["cells"] for output in cell.get("outputs", ())]
    texts = ["".join(output["text"]) for output in outputs if output.get("name") == "stdout"]
    assert any(re.search(NOTEBOOKS[name], text) for text in texts), texts


def test_all_notebooks_are_in_it(docker: Callable, studio: str) -> None:
    found = docker("run", "--rm", *USER, studio, "ls", "/usr/share/twofold/notebooks").stdout
    assert sorted(found.split()) == sorted(NOTEBOOKS)
