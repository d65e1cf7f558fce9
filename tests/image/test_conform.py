"""`twofold conform`: this image passes all of it, and what is wrong with the classic stack is found."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CLASSIC = Path(__file__).parent / "classic"
# Each group of checks stays within the time of a test.
GROUPS = [["1.1", "1.17"], ["2.2", "2.3", "2.4"], ["2.12", "2.15"], ["3"], ["4"], ["5"], ["6", "9.2", "10"]]
# Of the image for jobs and endpoints; the one for Studio is built apart.
ABSENT = {"starts in Studio"}
WRONG_WITH_THE_CLASSIC = {
    "has the tools of the SDK's launchers",
    "ranks two hosts by their list",
    "serves with a root that is read-only",
    "refuses an Accept that it cannot write with 406",
    "answers a broken body with 4xx",
    "takes bodies of 5, 6 and 25 MiB",
    "answers /ping within 2 s under load",
    "answers what is in flight at SIGTERM",
    "serves as nobody with 1 core and 1 GB",
    "takes 64 MiB with 2 GB of memory",
    "takes 100 MiB without a length",
}


def conform(image: str, *arguments: object) -> tuple[int, list[dict]]:
    argv = [sys.executable, "-P", "-m", "twofold.conform", image, "--json", *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=560, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def left(docker: Callable) -> str:
    listed = ("--filter", "label=twofold.conform", "--format", "{{.ID}}")
    return docker("ps", "--all", *listed).stdout + docker("network", "ls", *listed).stdout


@pytest.fixture(scope="module")
def model(docker: Callable, image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model like that of the first check, so that the groups of checks need not train each."""
    tree = tmp_path_factory.mktemp("conform")
    data = tree / "input" / "data" / "training"
    data.mkdir(parents=True)
    data.joinpath("part-0.csv").write_text(
        "".join(f"{row % 3},{row % 3},{row % 5},{2 - row % 3},{row % 2}\n" for row in range(60))
    )
    docker("run", "--rm", "--volume", f"{tree}:/opt/ml", image, "train")
    return tree / "model"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("sections", GROUPS, ids="+".join)
def test_this_image_passes_all_checks(image: str, model: Path, sections: list[str], docker: Callable) -> None:
    only = [f"--only={section}" for section in sections]

    code, findings = conform(image, f"--model={model}", "--hyperparameter=model=mlp", *only)

    assert code == 0, [finding for finding in findings if finding["result"] == "failed"]
    assert {finding["check"] for finding in findings if finding["result"] == "absent"} <= ABSENT
    assert left(docker) == ""


@pytest.mark.timeout(600)
def test_what_is_wrong_with_the_classic_stack_is_found(docker: Callable) -> None:
    docker("build", "--tag", "twofold-classic", CLASSIC, timeout=300)

    code, findings = conform("twofold-classic", "--hyperparameter=max_leaf_nodes=5")

    failed = {finding["check"]: finding for finding in findings if finding["result"] == "failed"}
    assert code == 1
    assert set(failed) == WRONG_WITH_THE_CLASSIC
    assert all(finding["change"] for finding in failed.values())
    assert left(docker) == ""


def test_an_image_that_is_not_there_is_named() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "twofold.conform", "no-such-image"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no image 'no-such-image'" in done.stderr
