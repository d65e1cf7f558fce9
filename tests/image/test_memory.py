"""A container whose memory is full for real: the kernel kills a rank, and the failure file says so."""

from collections.abc import Callable

HOLDS = """
import os
import torch

HELD = []

class Net(torch.nn.Module):
    def __init__(self, features, outputs):
        super().__init__()
        self.layer = torch.nn.Linear(features, outputs)

    def forward(self, rows):
        if os.environ.get("RANK") == "1":
            HELD.append(torch.ones(3_000_000))
        return self.layer(rows)

def build(features, outputs):
    return Net(features, outputs)
"""
LIMIT = ("--memory", "1500m", "--memory-swap", "1500m")


def test_a_rank_that_the_kernel_kills_for_memory_is_told_from_any_other(run: Callable, make_tree: Callable) -> None:
    data = {"training": {"a.csv": "0,1\n1,2\n0,3\n1,5\n"}}
    paths = make_tree(data, batch_size=2, epochs=100_000, processes_per_host=2, model="net.py:build")
    paths.code.mkdir()
    (paths.code / "net.py").write_text(HOLDS)

    done = run("train", opt_ml=paths.base, flags=LIMIT)

    assert done.returncode == 137, done.stdout
    assert paths.failure.read_text().startswith("memory: rank 1: ")
    assert "the container's memory was full" in paths.failure.read_text()
