"""A module cut over a mesh: layers by tensor parallelism, weights by FSDP2, and activations computed twice."""

import functools
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, distribute_module, distribute_tensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    PrepareModuleInput,
    RowwiseParallel,
    parallelize_module,
)
from torch.utils.checkpoint import checkpoint

from ..errors import ConfigError
from ..models.gpt import GPT
from .config import TrainingConfig
from .memory import Guard
from .mesh import DATA, TENSOR, Mesh
from .ranks import Ranks


def shard(module: nn.Module, config: TrainingConfig, mesh: Mesh, ranks: Ranks) -> Guard | None:
    """Cut a module over the mesh, in place; call it on every rank.

    The order is that of torchtitan: layers, then activations, then compilation, then weights.

    Returns:
        What lets one rank run out of memory in a forward pass; None where peers wait in no block, or inside of blocks.
    """
    guard = None
    if mesh.degrees.sharded:
        _share_weights(module, ranks)
    if mesh.degrees.tensor > 1 and mesh.grid is not None and isinstance(module, GPT):
        _cut_layers(module, mesh.grid[TENSOR])
    parts = list(blocks(module))
    if config.activation_checkpointing:
        _compute_activations_twice(parts, config.model)
    if config.compile and mesh.degrees.fully_sharded:
        for part in parts or [module]:
            part.compile()
    if mesh.degrees.kind == "fsdp" and not config.compile:
        guard = Guard(module, parts)
    if mesh.degrees.fully_sharded and mesh.grid is not None:
        for part in [*parts, module]:
            fully_shard(part, mesh=mesh.grid[DATA])
    module.to(ranks.device)
    return guard


def blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the blocks of a model: the members of its outermost lists of modules, in order."""
    for part in module.children():
        holds = isinstance(part, nn.ModuleList)
        if holds and not any(isinstance(member, nn.ModuleList | nn.ModuleDict) for member in part.children()):
            yield from part.children()
        else:
            yield from blocks(part)


def full_weights(module: nn.Module) -> dict[str, Tensor]:
    """Gather all weights in memory of the host, on the first rank; others get none. Call it on every rank."""
    weights: dict[str, Any] = get_model_state_dict(
        module, options=StateDictOptions(full_state_dict=True, cpu_offload=True)
    )
    return weights


def _share_weights(module: nn.Module, ranks: Ranks) -> None:
    """Give every rank the first one's weights: a model of the user's own may draw them from anywhere."""
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            sent = tensor.detach().to(ranks.device).contiguous()
            dist.broadcast(sent, src=0)
            tensor.copy_(sent)


class _Replicated(ParallelStyle):
    """A layer that every rank computes whole; its weights join the mesh, as an optimizer wants them all to."""

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        def place(_: str, part: nn.Module, mesh: DeviceMesh) -> None:
            for name, parameter in part.named_parameters(recurse=False):
                part.register_parameter(name, nn.Parameter(distribute_tensor(parameter, mesh, [Replicate()])))

        def enter(_: nn.Module, inputs: tuple[Tensor, ...], mesh: DeviceMesh) -> tuple[Tensor, ...]:
            return (DTensor.from_local(inputs[0], mesh, [Replicate()], run_check=False), *inputs[1:])

        def leave(_: nn.Module, output: DTensor, __: DeviceMesh) -> Tensor:
            return output.to_local()

        return distribute_module(module, device_mesh, place, enter, leave)  # type: ignore[arg-type]


def _cut_layers(module: GPT, mesh: DeviceMesh) -> None:
    """Cut attention by heads, feed-forward layers by their inner values, and the vocabulary.

    What enters attention and feed-forward is made a replicated DTensor once, so that the backward pass sums the
    gradients of query, key and value before it sends them: one all-reduce for each of the two, as in Megatron-LM
    (Shoeybi et al., arXiv:1909.08053).
    """
    outer: dict[str, ParallelStyle] = {
        "embedding": RowwiseParallel(input_layouts=Replicate(), output_layouts=Replicate()),
        "norm": _Replicated(),
        "head": ColwiseParallel(output_layouts=Replicate()),
    }
    if module.positions is not None:
        outer["positions"] = _Replicated()
    parallelize_module(module, mesh, outer)
    columns = ("attention.query", "attention.key", "attention.value", "feed_forward.gate", "feed_forward.up")
    rows = ("attention.output", "feed_forward.down")
    for block in module.blocks:
        plan: dict[str, ParallelStyle] = {
            "attention_norm": _Replicated(),
            "feed_forward_norm": _Replicated(),
            "attention": _entering(3),
            "feed_forward": _entering(1),
            **{name: ColwiseParallel() for name in columns},
            **{name: RowwiseParallel() for name in rows},
        }
        parallelize_module(block, mesh, plan)


def _entering(inputs: int) -> PrepareModuleInput:
    layouts: Any = (Replicate(), *[None] * (inputs - 1))
    return PrepareModuleInput(input_layouts=layouts, desired_input_layouts=layouts)


def _compute_activations_twice(parts: list[nn.Module], model: str) -> None:
    """Keep only what enters a block, and compute the rest again in the backward pass."""
    if not parts:
        raise ConfigError(
            f"activation_checkpointing is set, but the model {model!r} has no blocks. Expected 'gpt', 'resnet', or a "
            f"model of your own with a ModuleList: leave 'activation_checkpointing' out."
        )
    for part in parts:
        # The method and not the module is wrapped: names of weights stay, and FSDP's hooks stay outside.
        part.forward = functools.partial(checkpoint, part.forward, use_reentrant=False)
