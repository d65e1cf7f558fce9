"""How many ranks do what: copies of the data's work, and parts of each layer. Imports no torch: the parent asks too.

Ranks that share layers are neighbours, so that they are on one host: rank = data_rank * tensor + tensor_rank.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..errors import ConfigError
from .config import TrainingConfig

Kind: TypeAlias = Literal["none", "ddp", "fsdp", "tp", "fsdp+tp"]
"""`parallel`, once `auto` has been decided."""
_TENSOR_PARALLEL = ("tp", "fsdp+tp")


@dataclass(frozen=True, slots=True)
class Degrees:
    """What the ranks of a job share."""

    kind: Kind = "none"
    data: int = 1
    """Ranks, or groups of them, that see different samples."""
    tensor: int = 1
    """Ranks that see the same samples and compute a part of each layer."""

    @property
    def sharded(self) -> bool:
        """Whether no rank holds all weights."""
        return self.kind not in ("none", "ddp")

    @property
    def fully_sharded(self) -> bool:
        """Whether weights are cut over the data ranks and gathered layer by layer."""
        return self.kind in ("fsdp", "fsdp+tp")


def choose_degrees(config: TrainingConfig, world: int, local_world: int) -> Degrees:
    """Decide from `parallel` and `tensor_parallel` what `world` ranks, `local_world` on each host, do.

    Raises:
        ConfigError: settings that contradict each other, the model, or the number of ranks.
    """
    kind = _kind(config, world)
    tensor = _tensor(config, kind, world, local_world) if kind in _TENSOR_PARALLEL else 1
    data = world // tensor
    if data > config.batch_size:
        raise ConfigError(
            f"batch_size is {config.batch_size}, over {world} ranks ({world // local_world} hosts x {local_world} "
            f"processes), of which {data} see different samples. Expected at least one sample for each of these: raise "
            f"'batch_size' or use fewer instances."
        )
    return Degrees(kind, data, tensor)


def _kind(config: TrainingConfig, world: int) -> Kind:
    asked, tensor = config.parallel, config.tensor_parallel
    if tensor > 1 and asked in ("none", "ddp", "fsdp"):
        raise ConfigError(
            f"tensor_parallel is {tensor}, but parallel is {asked!r}. Set 'parallel' to 'tp' or 'fsdp+tp', or leave "
            f"'tensor_parallel' out."
        )
    if world == 1 and tensor <= 1:
        return "none"
    if asked == "none":
        raise ConfigError(
            f"parallel is 'none' on {world} ranks. Leave 'parallel' out, or use one instance and process."
        )
    if asked != "auto":
        return asked
    if tensor <= 1:
        return "ddp"
    return "tp" if tensor == world else "fsdp+tp"


def _tensor(config: TrainingConfig, kind: Kind, world: int, local_world: int) -> int:
    """Ranks that share each layer."""
    if config.model != "gpt":
        raise ConfigError(
            f"parallel is {kind!r} with the model {config.model!r}, whose layers cannot be cut. Expected 'gpt': set "
            f"'parallel' to 'fsdp', which shards the weights of any model, or to 'ddp'."
        )
    if config.compile:
        raise ConfigError(
            f"compile is true and parallel is {kind!r}: torch.compile fails on layers that are cut. Expected one of "
            f"the two: leave 'compile' out, or set 'parallel' to 'fsdp' or 'ddp'."
        )
    whole = world if kind == "tp" else local_world
    tensor = config.tensor_parallel or whole
    if local_world % tensor:
        raise ConfigError(
            f"tensor_parallel is {tensor}, on hosts of {local_world} ranks. Expected a divisor of {local_world}, since "
            f"ranks that share a layer talk in each of them and must be on one host: change 'tensor_parallel', or set "
            f"'parallel' to 'fsdp+tp' to spread the rest."
        )
    if config.heads % tensor:
        raise ConfigError(
            f"tensor_parallel is {tensor}, and each block has {config.heads} heads. Expected a divisor of the heads: "
            f"change 'tensor_parallel' or 'heads'."
        )
    if kind == "tp" and tensor != world:
        raise ConfigError(
            f"parallel is 'tp' and tensor_parallel is {tensor}, on {world} ranks. Expected all of them to share the "
            f"layers: set 'parallel' to 'fsdp+tp', which shards over the other {world // tensor}."
        )
    if kind == "fsdp+tp" and tensor in (1, world):
        raise ConfigError(
            f"parallel is 'fsdp+tp' and tensor_parallel is {tensor}, on {world} ranks: nothing is left for one of the "
            f"two. Expected a number between: change 'tensor_parallel', or set 'parallel' to "
            f"{'fsdp' if tensor == 1 else 'tp'!r}."
        )
    return tensor
