"""The CUDA build, all of it but what takes gigabytes: torch and the libraries that only its CUDA wheel needs."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAME = f"twofold-test-cuda-{os.getpid()}"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """What the image is built of, with a lock of the CUDA build without the large wheels."""
    for name in ("docker", "src"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "examples" / "notebooks").mkdir(parents=True)
    for name in (".dockerignore", "Dockerfile", "LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    lock = tmp_path / "docker" / "locks" / "cuda.txt"
    entries = re.split(r"\n(?=[a-z])", lock.read_text())
    small = [entry for entry in entries if not re.match(r"(torch|triton|cuda|nvidia)\b", entry)]
    assert 5 < len(small) < len(entries) - 15
    lock.write_text("\n".join(small) + "\n")
    return tmp_path


@pytest.fixture
def built(docker: Callable, source: Path) -> Iterator[Callable[[str], str]]:
    """Build a stage of the CUDA variant."""

    def build(stage: str) -> str:
        done = subprocess.run(
            [source / "docker" / "build", "cuda", "--target", stage],
            env={**os.environ, "IMAGE": NAME}, capture_output=True, text=True, timeout=560, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        return NAME

    yield build
    docker("image", "rm", "--force", NAME, check=False)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("stage", ["torch", "package", "sbom"])
def test_its_stages_build(docker: Callable, built: Callable[[str], str], stage: str) -> None:
    built(stage)
    if stage == "torch":
        site = "/part/opt/venv/lib/python3.11/site-packages"
        found = docker("run", "--rm", NAME, "ls", site).stdout.split()
        assert {"sympy", "networkx", "filelock"} <= set(found)
        assert not {"torch", "nvidia"} & set(found)
