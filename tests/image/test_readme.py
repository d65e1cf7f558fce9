"""The README's commands for the image run as they stand, from the root of the repository."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"<!-- runs: tests/image/test_readme.py -->\n```sh\n(.*?)```", README, re.DOTALL)

pytestmark = pytest.mark.image


def test_demo_through_the_image(run_block: Callable[[str], str]) -> None:
    block = next(block for block in BLOCKS if "demo-image" in block)
    match = re.fullmatch(r"demo: ok accuracy=(0\.\d{3})", run_block(block).splitlines()[-1])
    assert match
    assert float(match[1]) >= 0.96


def test_own_table_through_docker_run(docker: Callable[..., object], run_block: Callable[[str], str]) -> None:
    block = next(block for block in BLOCKS if "--name digits" in block)
    shutil.rmtree(ROOT / "build" / "ml", ignore_errors=True)
    try:
        output = run_block(block)
    finally:
        docker("rm", "--force", "digits", check=False)
    answers = [line.split(",") for line in output.splitlines() if line.count(",") == 9]
    truth = (ROOT / "build/ml/input/data/validation/digits.csv").read_text(encoding="ascii").splitlines()[:3]
    probabilities = [[float(value) for value in answer] for answer in answers]
    assert len(probabilities) == 3
    assert all(sum(row) == pytest.approx(1, abs=1e-5) for row in probabilities)
    right = sum(int(line.split(",")[0]) == row.index(max(row)) for line, row in zip(truth, probabilities, strict=True))
    assert right >= 2
