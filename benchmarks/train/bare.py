"""The loop that anybody would write by hand, bare or with Fabric or Accelerate, on a case of loop.py; prints JSON.

    python bare.py KIND CASE.json     alone, or as a rank of torchrun

It trains the very model of the case on the case's data, held in memory as tensors and cut into batches by indexing: the
least that a loop can do. What it prints are the seconds of each epoch and the moment of its first step.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from twofold.models.table import build

kind, case_path = sys.argv[1:]
case = json.loads(Path(case_path).read_text(encoding="utf-8"))
rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
data = np.load(case["bare_data"])
rows, labels = torch.from_numpy(data["rows"]), torch.from_numpy(data["labels"])
batch = case["batch_size"]

torch.manual_seed(0)
model = build(case["model"], case["arguments"])
optimizer = torch.optim.AdamW(model.parameters(), lr=0.001, weight_decay=0.0)
backward = torch.Tensor.backward
if kind == "fabric":
    from lightning_fabric import Fabric

    fabric = Fabric(accelerator="cpu", devices=world, strategy="ddp" if world > 1 else "auto")
    fabric.launch()
    model, optimizer = fabric.setup(model, optimizer)
    backward = fabric.backward
elif kind == "accelerate":
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model, optimizer = accelerator.prepare(model, optimizer)
    backward = accelerator.backward
elif world > 1:
    torch.distributed.init_process_group("gloo")
    model = torch.nn.parallel.DistributedDataParallel(model)

model.train()
seconds: list[float] = []
first_step = 0.0
for epoch in range(case["epochs"]):
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(epoch))
    total = torch.zeros(())
    started = time.perf_counter()
    for index in order.split(batch):
        mine = index[rank::world]
        optimizer.zero_grad()
        loss = cross_entropy(model(rows[mine]), labels[mine])
        backward(loss)
        optimizer.step()
        total += loss.detach()
        first_step = first_step or time.time()
    seconds.append(time.perf_counter() - started)

if rank == 0:
    print(json.dumps({"seconds": seconds, "first_step": first_step, "loss": float(total)}), flush=True)
# Peers leave a process group behind; what was measured is printed.
os._exit(0)
