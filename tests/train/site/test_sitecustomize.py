"""What a script's Python loads at its start, and one that has no Twofold does not."""

import subprocess
import sys
from pathlib import Path

import pytest
import twofold.train.settle

SITE = Path(twofold.train.settle.__file__).parent / "site"


@pytest.mark.parametrize(("flags", "loaded"), [([], "True"), (["-S"], "False")], ids=["ours", "without packages"])
def test_python_loads_it_where_it_can(flags, loaded):
    source = "import sys, sitecustomize; print('twofold.train.settle' in sys.modules)"
    environ = {"PYTHONPATH": str(SITE)}
    done = subprocess.run(
        [sys.executable, *flags, "-c", source], check=False, capture_output=True, text=True, timeout=60, env=environ
    )
    assert (done.stdout, done.stderr) == (f"{loaded}\n", "")


def test_it_costs_a_script_nothing_it_does_not_need():
    source = (
        "import sys; print(*sorted(name for name in sys.modules if name.startswith(('torch', 'numpy', 'twofold'))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", source],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(SITE)},
    )
    assert done.stdout.split() == ["twofold", "twofold.train", "twofold.train.settle"]
