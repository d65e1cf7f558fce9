"""What a script's Python loads at its start."""

import subprocess
import sys
from pathlib import Path

import twofold.train.site

SITE = Path(twofold.train.site.__path__[0])


def test_any_python_loads_it_and_little_else():
    """`-S` is a Python that has none of our packages."""
    source = "import sys, sitecustomize; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", source],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(SITE)},
    )
    assert done.stderr == ""
    loaded = set(done.stdout.split())
    assert {"sitecustomize", "twofold_settle"} <= loaded
    assert not loaded & {"twofold", "torch", "pathlib", "typing"}


def test_one_that_is_installed_is_run_as_well(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("print('installed')\n")
    done = subprocess.run(
        [sys.executable, "-c", "import sys; print('twofold_settle' in sys.modules)"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": f"{SITE}:{tmp_path}"},
    )
    assert (done.stdout, done.stderr) == ("installed\nTrue\n", "")
