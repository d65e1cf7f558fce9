"""The examples run as their readers run them, with fewer epochs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(script: str, *arguments: object) -> str:
    """Run an example and return what it prints."""
    command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def values(name: str, output: str) -> list[float]:
    return [float(value) for value in re.findall(rf"{name}=([0-9.e+-]+)", output)]


@pytest.mark.slow
@pytest.mark.procs
def test_a_resnet_learns_the_digits_as_images(tmp_path: Path) -> None:
    output = run("images/digits.py", tmp_path, "epochs=3", "filters=8")
    assert values("images: ok accuracy", output)[-1] > 0.8
    assert len(re.findall(r"^answer( \d)+$", output, re.MULTILINE)) == 1


@pytest.mark.slow
@pytest.mark.procs
def test_a_gpt_learns_the_manual(tmp_path: Path) -> None:
    output = run("text/manual.py", tmp_path, "epochs=3", "layers=1", "width=64")
    perplexity = values("validation:perplexity", output)
    assert perplexity == sorted(perplexity, reverse=True)
    assert perplexity[-1] < 40  # of 257 tokens
    assert output.splitlines()[-1].startswith("text: ok perplexity=")
    assert "\nThe image " in output
