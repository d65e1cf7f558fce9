"""A channel in Pipe mode as samples: one pass of the FIFO to learn what is in it, then one for each epoch.

The order is the pipe's own: nothing is shuffled here, the platform's ShuffleConfig does it.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..contract.channels import Channel
from ..errors import DataError
from ..stream.pipe import PipeLoader
from ..stream.shards import Columns
from .fields import Fields
from .ranks import Ranks
from .samples import Batch, Block, Reading, Rows, as_table, describe_first, fields_of
from .split import Split


class PipedSamples:
    """The samples of a pipe; the first pass is over when `blocks` has been read to its end."""

    names: tuple[str, ...] = ()
    is_text = False

    def __init__(self, channel: Channel, batch_size: int, reading: Reading, ranks: Ranks, sockets: Path) -> None:
        """Open the first FIFO and read one batch; call it on every rank.

        Raises:
            DataError: the pipe is empty on every host, or its first sample has nothing to learn from.
        """
        self.channel, self._ranks, self._batch_size = channel.name, ranks, batch_size
        self._pipe = PipeLoader(
            channel,
            batch_size,
            rank=ranks.rank,
            world=ranks.world,
            local_rank=ranks.local_rank,
            local_world=ranks.local_world,
            sockets=sockets,
            agree=lambda flag: int(ranks.sum(torch.tensor([flag], device=ranks.device)).item()),
        )
        self._sharded = channel.distribution == "ShardedByS3Key"
        self._pass: Iterator[dict[str, Any]] = iter(self._pipe)
        self._begun = [next(self._pass, {})]
        self.fields, self.first = self._agree_on_fields(reading)
        self.split = Split(sizes=(0,))

    @property
    def features(self) -> int:
        """Values of one sample, the label apart."""
        return self.fields.width

    @property
    def samples(self) -> int:
        """Samples over all hosts, known after the first pass."""
        return self.split.samples

    def blocks(self) -> Iterator[Block]:
        """Yield this rank's share of the first pass, or of another one; the first pass counts the samples.

        The ids of blocks count this rank's samples: a pipe has no others.
        """
        seen = 0
        for batch in self._batches():
            rows, labels = self._split(batch)
            yield Block(as_table(rows, labels), seen + np.arange(len(rows)))
            seen += len(rows)
        if not self.split.samples:
            self.split = self._count(seen)

    def place(self, sample: int) -> str:
        """Say where a sample of this rank stands; a pipe does not tell the file."""
        return f"Channel {self.channel!r}, sample {sample} of rank {self._ranks.rank}"

    def loader(self, batch_size: int, seed: int, *, shuffle: bool, tensor: int = 1) -> "PipedSamples":  # noqa: ARG002
        """Return itself: batch size, order and ranks were settled when the pipe was opened."""
        return self

    @property
    def total(self) -> int:
        """Samples of an epoch."""
        return self.samples

    def steps(self) -> int:
        """Global batches of an epoch."""
        return self.split.steps(self._batch_size)

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """Yield the batches of the next pass from `first_step` on; what comes before is read and dropped."""
        self._pipe.epoch, self._pipe.step = epoch, first_step
        for step, batch in enumerate(self._batches(), start=first_step):
            rows, labels = self._split(batch)
            yield Batch(step=step, rows=rows, labels=labels, global_count=self.split.count(self._batch_size, step))

    def _batches(self) -> Iterator[dict[str, Any]]:
        begun, self._begun = self._begun, []
        yield from begun
        yield from self._pass if begun else iter(self._pipe)

    def _split(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        if not batch:
            return self.fields.empty
        return self.fields.split(batch)

    def _agree_on_fields(self, reading: Reading) -> tuple[Fields, Rows]:
        """Take the fields from the lowest rank that has a sample, so that one without knows them too."""
        ranks, batch = self._ranks, self._begun[0]
        has = torch.zeros(ranks.world, dtype=torch.int64, device=ranks.device)
        has[ranks.rank] = int(bool(batch))
        holders = ranks.sum(has).nonzero().flatten().tolist()
        if not holders:
            raise DataError(
                f"Channel {self.channel!r}: its first FIFO ended without one record on every host. Expected data: "
                f"check the S3 prefix of the channel."
            )
        one: Columns = {name: np.asarray(column[:1]) for name, column in batch.items()}
        own = describe_first(one, reading, self.channel) if ranks.rank == holders[0] else None
        fields, first = fields_of(ranks.broadcast(own, holders[0]) or b"{}")
        if fields.text_label:
            raise DataError(
                f"Channel {self.channel!r}: the label {fields.label!r} is a word, whose number is known only after a "
                f"pass over all samples. Expected numbers in Pipe mode: number the classes, or use File mode."
            )
        return fields, first

    def _count(self, seen: int) -> Split:
        """Find out what each part has, now that the first pass is over."""
        ranks = self._ranks
        counts = torch.zeros(ranks.hosts, dtype=torch.int64, device=ranks.device)
        counts[ranks.host] = seen
        sizes = tuple(int(count) for count in ranks.sum(counts).tolist())
        if not self._sharded:
            return Split(sizes=(sum(sizes),), rank=ranks.rank, world=ranks.world)
        # The pipe shares a batch out by ranks, since it cannot know how much each host will have.
        borders = [host * ranks.local_world * self._batch_size // ranks.world for host in range(ranks.hosts + 1)]
        shares = tuple(stop - start for start, stop in pairwise(borders))
        return Split(sizes=sizes, part=ranks.host, rank=ranks.local_rank, world=ranks.local_world, shares=shares)
