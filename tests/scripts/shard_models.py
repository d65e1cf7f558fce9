"""One of two ranks that shard `gpt` and `resnet`; rank 0 prints how far outputs are from those of the whole model."""

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from twofold.models.table import build
from twofold.train.program import leave

GPT = {"context": 16, "width": 32, "layers": 2, "heads": 4}
RESNET = {"outputs": 3, "height": 8, "width": 8, "filters": 8}
COLUMNS = ("attention.query", "attention.key", "attention.value", "feed_forward.gate", "feed_forward.up")
ROWS = ("attention.output", "feed_forward.down")


def made(name, arguments):
    torch.manual_seed(0)
    return build(name, arguments)


def compare(label, whole, sharded, inputs):
    answers = sharded(inputs)
    answers.sum().backward()
    if dist.get_rank() == 0:
        print(label, (answers - whole(inputs)).abs().max().item())


dist.init_process_group("gloo")
mesh = init_device_mesh("cpu", (2,))
random = torch.Generator().manual_seed(0)
tokens = torch.randint(0, 257, (4, 16), generator=random)
pixels = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8, generator=random)
module = made("gpt", GPT)
for block in module.blocks:
    parallelize_module(
        block, mesh, {**{name: ColwiseParallel() for name in COLUMNS}, **{name: RowwiseParallel() for name in ROWS}}
    )
compare("tensor-parallel gpt", made("gpt", GPT), module, tokens)
for name, arguments, inputs in (("gpt", GPT, tokens), ("resnet", RESNET, pixels)):
    module = made(name, arguments)
    for block in module.blocks:
        fully_shard(block, mesh=mesh)
    compare(f"fully-sharded {name}", made(name, arguments), fully_shard(module, mesh=mesh), inputs)
dist.barrier()
leave(0)
