"""The last collective of a process that ends, and gloo's thread, which still wants the interpreter after it."""

import subprocess
import sys
import time

import pytest
from twofold.train.site.twofold_settle import settle

START = """
import sys, time, torch, torch.distributed as dist
{first}
dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
sys.setswitchinterval(10)  # the main thread lets go of the interpreter when it waits for something, only
"""
COLLECTIVE = """
work = dist.all_reduce(torch.ones(4), async_op=True)
del work
end = time.monotonic() + 0.5
while time.monotonic() < end: pass
"""
IMPORT = "import twofold.train.site.twofold_settle"


def run(source: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", source], check=False, capture_output=True, text=True, timeout=60)


def test_there_is_nothing_to_wait_for_without_gloo():
    before = time.monotonic()
    settle()
    assert time.monotonic() - before < 0.01


def test_torch_aborts_a_process_that_ends_right_after_a_collective():
    """What this module is for: once this fails, torch no longer does so, and the module can go."""
    done = run(START.format(first="") + COLLECTIVE)
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
    done = run(START.format(first=IMPORT) + COLLECTIVE + last)
    assert (done.returncode, done.stderr) == (code, printed)


def test_threads_that_want_nothing_are_seen_to_at_once():
    done = run(
        START.format(first=IMPORT)
        + "dist.all_reduce(torch.ones(4))\n"
        + "from twofold.train.site.twofold_settle import settle\n"
        + "before = time.monotonic(); settle(); print(time.monotonic() - before)\n"
    )
    assert float(done.stdout) < 0.5
