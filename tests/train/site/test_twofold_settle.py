"""The last collective of a process that ends, and gloo's thread, which still wants the interpreter after it."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from twofold.train.site.twofold_settle import settle

SUDDEN = (Path(__file__).parents[2] / "scripts" / "sudden.py").read_text()
IMPORT = "import twofold.train.site.twofold_settle\n"


def run(source: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", source], check=False, capture_output=True, text=True, timeout=60)


def test_there_is_nothing_to_wait_for_without_gloo():
    before = time.monotonic()
    settle()
    assert time.monotonic() - before < 0.01


def test_torch_aborts_a_process_that_ends_right_after_a_collective():
    """What this module is for: once this fails, torch no longer does so, and the module can go."""
    done = run(SUDDEN)
    assert done.returncode == -6
    assert "terminate called without an active exception" in done.stderr


@pytest.mark.parametrize(
    ("last", "code", "printed"),
    [
        ("", 0, ""),
        ("sys.exit(7)", 7, ""),
        ("raise SystemExit('no')", 1, "no\n"),
        ("dist.destroy_process_group()", 0, ""),
    ],
    ids=["end", "code", "message", "destroyed"],
)
def test_a_process_that_ends_right_after_a_collective_ends_as_it_means_to(last, code, printed):
    done = run(IMPORT + SUDDEN + last)
    assert (done.returncode, done.stderr) == (code, printed)


def test_threads_that_want_nothing_are_seen_to_at_once():
    done = run(
        "import time, torch, torch.distributed as dist\n"
        "from twofold.train.site.twofold_settle import settle\n"
        "dist.init_process_group('gloo', store=dist.HashStore(), rank=0, world_size=1)\n"
        "dist.all_reduce(torch.ones(4))\n"
        "before = time.monotonic(); settle(); print(time.monotonic() - before)\n"
    )
    assert float(done.stdout) < 0.5
