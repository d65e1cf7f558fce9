"""One of several ranks that train the jobs of several trees, one after the other: they start only once."""

import os
import sys
from pathlib import Path

import torch
from twofold.contract.job import read_training_job
from twofold.contract.paths import Paths
from twofold.train import program
from twofold.train.ranks import join

torch.set_num_threads(1)
with join(os.environ) as ranks:
    for tree in map(Path, sys.argv[1:]):
        scratch = tree / "scratch"
        scratch.mkdir(exist_ok=True)
        program.run(read_training_job(Paths(tree), {}), ranks, scratch)
    ranks.barrier()
program.leave(0)
