"""The locks hold what pyproject.toml asks for, agree with each other, and say nothing of where they were made."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / "docker" / "locks"


def pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ ;\\\n]+)", (LOCKS / f"{name}.txt").read_text(), re.MULTILINE))


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower() for requirement in requirements}


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_dependency_is_locked(project: dict) -> None:
    dependencies = names(project["project"]["dependencies"]) - {"torch"}
    extras = names([name for extra in project["project"]["optional-dependencies"].values() for name in extra])
    groups = {name for group in project["dependency-groups"].values() for name in names(group)}

    assert dependencies - set(pins("runtime")) == set(), "run `make lock`"
    assert not {"moto", "optuna", "docker"} & set(pins("runtime")), "rehearsal is never in the image"
    assert (dependencies | extras | groups) - set(pins("dev")) == set(), "run `make lock`"


def test_tests_run_on_the_versions_that_the_image_holds() -> None:
    dev = pins("dev")
    assert {name: version for name, version in pins("runtime").items() if dev.get(name) != version} == {}


def test_torch_stands_apart_in_one_version() -> None:
    assert pins("torch") == {"torch": pins("cuda")["torch"]}
    assert "torch" not in {**pins("runtime"), **pins("dev"), **pins("sdk2"), **pins("sdk3")}
    shared = pins("runtime")
    assert {name: version for name, version in pins("cuda").items() if shared.get(name, version) != version} == {}


@pytest.mark.parametrize("name", ["runtime", "dev", "cuda", "sdk2", "sdk3", "awscli"])
def test_every_pin_has_hashes_and_no_place_is_named(name: str) -> None:
    text = (LOCKS / f"{name}.txt").read_text()
    unhashed = re.findall(r"^[a-z].*==.*$(?!\n    --hash)", text, re.MULTILINE)

    assert unhashed == []
    assert not re.search(r"://|--(extra-)?index-url|--find-links|file:", text)
