"""One of several ranks that train the jobs of trees; one of them, and no other, gets SIGTERM as its step STEP begins.

train_interrupted.py RANK STEP TREE...      leaves in rank-N.json of a tree how many collectives each step has called
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from twofold.contract.job import read_training_job
from twofold.contract.paths import Paths
from twofold.train import program
from twofold.train.loop import Trainer
from twofold.train.ranks import join

interrupted, last = int(sys.argv[1]), int(sys.argv[2])
take_step, sum_up = Trainer._step, dist.all_reduce
calls = []


def step(self, *arguments):
    calls.append(0)
    if ranks.rank == interrupted and len(calls) == last:
        os.kill(os.getpid(), signal.SIGTERM)
    return take_step(self, *arguments)


def counted(*arguments, **named):
    if calls:
        calls[-1] += 1
    return sum_up(*arguments, **named)


torch.set_num_threads(1)
Trainer._step, dist.all_reduce = step, counted
with join(os.environ) as ranks:
    for tree in map(Path, sys.argv[3:]):
        calls.clear()
        scratch = tree / "scratch"
        scratch.mkdir(exist_ok=True)
        program.run(read_training_job(Paths(tree), {}), ranks, scratch)
        (tree / f"rank-{ranks.rank}.json").write_text(json.dumps(calls))
    ranks.barrier()
program.leave(0)
