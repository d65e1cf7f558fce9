"""A user's own training script, as SDK v3 runs it: plain torch, nothing of Twofold. One process or several."""

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
parser.add_argument("--batch_size", type=int)
parser.add_argument("--learning_rate", type=float)
arguments = parser.parse_args()

rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
torch.manual_seed(0)
if world > 1:
    torch.distributed.init_process_group("gloo")

table = np.loadtxt(Path(os.environ["SM_CHANNEL_TRAIN"]) / "digits.csv", delimiter=",", dtype=np.float32)
labels, pixels = torch.from_numpy(table[:, 0]).long(), torch.from_numpy(table[:, 1:])
model = torch.nn.Linear(pixels.shape[1], 10)
wrapped = torch.nn.parallel.DistributedDataParallel(model) if world > 1 else model
optimizer = torch.optim.AdamW(wrapped.parameters(), lr=arguments.learning_rate)
for epoch in range(1, arguments.epochs + 1):
    for batch in torch.randperm(len(labels)).split(arguments.batch_size):
        mine = batch[rank::world]
        loss = torch.nn.functional.cross_entropy(wrapped(pixels[mine]), labels[mine])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if rank == 0:
        print(f"own script: epoch={epoch} world={world} loss={loss.item():.4f}", flush=True)

if rank == 0:
    save_file(model.state_dict(), Path(os.environ["SM_MODEL_DIR"]) / "own.safetensors")
if world > 1:
    torch.distributed.destroy_process_group()
