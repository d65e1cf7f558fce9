"""Ends while gloo's thread waits for the interpreter: torch aborts it, see src/train/site/twofold_settle.py."""

import sys
import time

import torch
import torch.distributed as dist

dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
sys.setswitchinterval(10)  # the main thread lets go of the interpreter when it waits for something, only
work = dist.all_reduce(torch.ones(4), async_op=True)
del work
end = time.monotonic() + 0.5
while time.monotonic() < end:
    pass
