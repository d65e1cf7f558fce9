"""Who reads what of a channel: all ranks share one copy of it, or the ranks of each host the host's own part.

    FullyReplicated     one part, shared by all ranks
    ShardedByS3Key      a part for each host, of any size, none at all included

Every part has its share of each global batch, in proportion to its samples, and a plan of its own over that share.
Parts can end at different steps: then their ranks have empty shares, and still take every step with the others.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import torch

from ..errors import ConfigError, DataError
from .ranks import Ranks


@dataclass(frozen=True, kw_only=True)
class Split:
    """The parts of a channel, and this rank's place in one of them."""

    sizes: tuple[int, ...]
    """Samples of each part."""
    part: int = 0
    """This rank's part."""
    rank: int = 0
    """This rank among those of its part."""
    world: int = 1
    """Ranks of this part."""
    shares: tuple[int, ...] | None = None
    """Share of each part in a global batch, where something else has decided it."""

    def grouped(self, size: int) -> "Split":
        """Return the split between groups of `size` neighbouring ranks that see the same samples."""
        return replace(self, rank=self.rank // size, world=self.world // size)

    @cached_property
    def samples(self) -> int:
        """Samples of all parts."""
        return sum(self.sizes)

    def batch_sizes(self, batch_size: int) -> tuple[int, ...]:
        """Share of each part in a global batch: in proportion, at least one sample of every part that has any.

        Raises:
            ConfigError: more parts than samples in a batch.
        """
        if self.shares is not None:
            return self.shares
        filled = [part for part, size in enumerate(self.sizes) if size]
        if len(filled) > batch_size:
            raise ConfigError(
                f"batch_size is {batch_size}, and {len(filled)} hosts have data of their own (ShardedByS3Key). "
                f"Expected at least one sample a host: raise 'batch_size' or use fewer instances."
            )
        shares = [0] * len(self.sizes)
        for part in filled:
            shares[part] = max(1, batch_size * self.sizes[part] // self.samples)
        # What rounding has left over or taken too much goes where a sample more or less changes the share the least.
        while (rest := batch_size - sum(shares)) != 0:
            step = 1 if rest > 0 else -1
            candidates = [part for part in filled if shares[part] + step >= 1]
            chosen = max(candidates, key=lambda part: (step * self.sizes[part] / shares[part], -part))
            shares[chosen] += step
        return tuple(shares)

    def steps(self, batch_size: int) -> int:
        """Global batches of an epoch: until the last part has ended."""
        shares = self.batch_sizes(batch_size)
        return max((-(-size // share) for size, share in zip(self.sizes, shares, strict=True) if share), default=0)

    def count(self, batch_size: int, step: int) -> int:
        """Samples of global batch `step`, over all parts."""
        shares = self.batch_sizes(batch_size)
        return sum(min(max(size - step * share, 0), share) for size, share in zip(self.sizes, shares, strict=True))


def split_of(samples: int, ranks: Ranks, *, sharded: bool, channel: str) -> Split:
    """Find out from all ranks how a channel is split; call it on every rank.

    Args:
        samples: samples that this host has.
        ranks: all ranks.
        sharded: whether each host has a part of its own.
        channel: its name, for messages.

    Raises:
        DataError: no host has a sample, or hosts that should have the same data have not.
    """
    counts = torch.zeros(ranks.hosts, dtype=torch.int64, device=ranks.device)
    if ranks.local_rank == 0:
        counts[ranks.host] = samples
    sizes = tuple(int(count) for count in ranks.sum(counts).tolist())
    if not any(sizes):
        raise DataError(
            f"Channel {channel!r} is empty on every host. Expected data: check the S3 prefix of the channel."
        )
    if sharded:
        return Split(sizes=sizes, part=ranks.host, rank=ranks.local_rank, world=ranks.local_world)
    if len(set(sizes)) > 1:
        raise DataError(
            f"Channel {channel!r} has {', '.join(map(str, sizes))} samples on the hosts, in their order. Expected the "
            f"same data on every host, as with FullyReplicated: set distribution to 'ShardedByS3Key' "
            f"if each has its own part."
        )
    return Split(sizes=sizes[:1], rank=ranks.rank, world=ranks.world)
