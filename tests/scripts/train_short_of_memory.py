"""One of several ranks that train the jobs of trees; one of them runs out of memory above so many samples.

train_short_of_memory.py RANK MOST PLACE AFTER TREE...      PLACE is where in `gpt` memory runs out; not in the first
                                                            AFTER passes
"""

import os
import sys
from pathlib import Path

import torch
from short_of_memory.limited import LimitedInBackward
from torch import nn
from twofold.contract.job import read_training_job
from twofold.contract.paths import Paths
from twofold.models import gpt
from twofold.train import program
from twofold.train.ranks import join

LAYERS = {"embedding": nn.Embedding, "head": nn.Linear, "block": gpt.FeedForward, "backward": gpt.FeedForward}
VOCABULARY = 257
passes = []


def limit(states):
    passes.append(len(states))
    if len(passes) > after and ranks.rank == short and len(states) > most:
        raise torch.OutOfMemoryError(f"Tried to allocate {len(states)} samples")


def limited(forward):
    def run(self, states):
        if place == "backward":
            states = LimitedInBackward.apply(states, limit)
        elif place != "head" or self.out_features == VOCABULARY:
            limit(states)
        return forward(self, states)

    return run


torch.set_num_threads(1)
short, most, place, after = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
LAYERS[place].forward = limited(LAYERS[place].forward)
with join(os.environ) as ranks:
    for tree in map(Path, sys.argv[5:]):
        passes.clear()
        scratch = tree / "scratch"
        scratch.mkdir(exist_ok=True)
        program.run(read_training_job(Paths(tree), {}), ranks, scratch)
    ranks.barrier()
program.leave(0)
