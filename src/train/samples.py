"""The samples of a channel as dense models take them: a row of features and a label each."""

import json
import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ConfigError, DataError
from ..stream.dataset import Dataset
from ..stream.loader import StreamingLoader
from ..stream.shards import Columns
from .ranks import Ranks
from .split import Split, split_of

log = logging.getLogger("twofold.train")

Rows = NDArray[np.float32]

LABELS = ("label", "labels", "target", "y", "cls", "class")
"""Names that mean the label where the hyperparameter `label` does not say which."""
_ARRAY = "data"
_BLOCK_VALUES = 4 << 20


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of a channel's samples that training uses."""

    label: str
    """Field of the label; empty where it is the first value of the only field, as in an NPY table."""
    features: tuple[str, ...]
    """Fields whose values, one behind the other, are the features of a sample."""
    width: int
    """Values of one sample in all of `features`, the label apart."""

    def split(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Features `[n, width]` and labels `[n]` of a batch, float32.

        Raises:
            DataError: a field is missing, or of another shape than in the first sample.
        """
        parts = [self._matrix(name, batch.get(name)) for name in self.features]
        rows = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        if self.label:
            labels = self._matrix(self.label, batch.get(self.label))
        else:
            labels, rows = rows[:, :1].contiguous(), rows[:, 1:].contiguous()
        if rows.shape[1] != self.width or labels.shape[1] != 1:
            raise DataError(
                f"Samples have {rows.shape[1]} features and {labels.shape[1]} labels. Expected {self.width} and 1, as "
                f"in the first sample of the training channel."
            )
        return rows, labels[:, 0]

    def _matrix(self, name: str, column: Any) -> Tensor:  # noqa: ANN401 - a batch holds what the data holds
        if column is None:
            raise DataError(
                f"A sample has no field {name!r}. Expected the fields of the training channel in every sample."
            )
        if not isinstance(column, Tensor):
            raise DataError(
                f"Field {name!r} differs in shape from sample to sample, or is no number. Expected as many numbers in "
                f"every sample: resize images and pad lists with `prepare` or before it, or leave the field out."
            )
        return column.reshape(len(column), math.prod(column.shape[1:])).to(torch.float32)


def choose_fields(sample: Columns, label: str, channel: str) -> Fields:
    """Choose the label and the features by the first sample of a channel.

    Args:
        sample: columns of one sample.
        label: field that the hyperparameter `label` names; empty: one of `LABELS`, else the first numeric field.
        channel: name of the channel, for messages.

    Raises:
        ConfigError: there is no such field.
        DataError: no number to learn from.
    """
    numeric = [
        name for name, column in sample.items() if isinstance(column, np.ndarray) and column.dtype.kind in "biuf"
    ]
    if label and label not in numeric:
        raise ConfigError(
            f"label is {label!r}; the numeric fields of channel {channel!r} are: {', '.join(numeric) or 'none'}. Set "
            f"'label' to one of them."
        )
    if numeric == [_ARRAY] and not label and (width := math.prod(np.shape(sample[_ARRAY])[1:])) > 1:
        return Fields("", (_ARRAY,), width - 1)
    chosen = label or next((name for name in LABELS if name in numeric), next(iter(numeric), ""))
    features = tuple(name for name in numeric if name != chosen)
    if not features:
        raise DataError(
            f"Channel {channel!r} has the fields {', '.join(sample) or 'none'}, of which {len(numeric)} hold numbers. "
            f"Expected a label and at least one field of features; in an array, two values a row, the label first."
        )
    width = sum(math.prod(np.shape(sample[name])[1:]) for name in features)
    return Fields(chosen, features, width)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one rank sees of one global batch."""

    step: int
    """Number of the global batch in its epoch, from 0."""
    rows: Tensor
    """Features `[n, features]` float32; n can be 0 where a short last batch leaves nothing for this rank."""
    labels: Tensor
    """Labels `[n]` float32 as they stand in the data."""
    global_count: int
    """Samples of the global batch over all ranks, the divisor of its mean loss."""


@dataclass(frozen=True, slots=True)
class Block:
    """Samples that are looked at together."""

    rows: Rows
    """Samples `[n, 1 + features]`, label first."""
    sample_ids: NDArray[np.int64]
    """Their ids `[n]`."""


@dataclass(frozen=True, slots=True)
class Samples:
    """The samples of a channel."""

    dataset: Dataset
    """What this host has of them."""
    fields: Fields
    first: Rows
    """One sample `[1 + features]`, label first; the same on every rank."""
    split: Split

    @property
    def channel(self) -> str:
        """Name of the channel."""
        return self.dataset.channel

    @property
    def samples(self) -> int:
        """Number of samples, over all hosts."""
        return self.split.samples

    @property
    def features(self) -> int:
        """Values of one sample, the label apart."""
        return self.fields.width

    def loader(self, batch_size: int, seed: int, *, shuffle: bool) -> "Loader":
        """Return the batches of an epoch, of `batch_size` samples over all ranks."""
        return Loader(self, batch_size, seed, shuffle)

    def place(self, sample: int) -> str:
        """Say where a sample of this host stands."""
        return self.dataset.place(sample)

    def read(self, sample_ids: NDArray[np.int64]) -> Block:
        """Read samples in the order of `sample_ids` `[n]`; broken ones that are skipped are missing.

        Raises:
            DataError: a sample of another shape than the first one; names file and record.
        """
        columns, kept = self.dataset.read(sample_ids)
        if not columns:
            return Block(np.empty((0, 1 + self.features), dtype=np.float32), sample_ids[:0])
        try:
            rows, labels = self.fields.split(as_tensors(columns))
        except DataError as error:
            if len(sample_ids) > 1:
                # One by one it shows which: a sample that alone is sound has the fields and the width of the first.
                for sample in sample_ids:
                    self.read(np.array([sample]))
            raise DataError(f"{self.place(int(sample_ids[0]))}: {error}") from error
        table: Rows = torch.cat([labels[:, None], rows], dim=1).numpy()
        return Block(table, sample_ids if kept is None else sample_ids[kept])

    def blocks(self, block_values: int = _BLOCK_VALUES) -> Iterator[Block]:
        """Blocks of samples in order: this rank's share of one pass over everything."""
        size = max(block_values // (1 + self.features), 1)
        for start in range(self.split.rank * size, len(self.dataset), self.split.world * size):
            yield self.read(np.arange(start, min(start + size, len(self.dataset))))
        if self.dataset.bad.skipped:
            log.warning(
                "%d broken records are skipped, the first: %s", self.dataset.bad.skipped, self.dataset.bad.first
            )


@dataclass(frozen=True, slots=True)
class Loader:
    """Batches of a channel for one rank of many."""

    samples: Samples
    batch_size: int
    """Samples of a global batch, over all ranks."""
    seed: int
    shuffle: bool = True

    @property
    def total(self) -> int:
        """Samples of an epoch."""
        return self.samples.samples

    def steps(self) -> int:
        """Global batches of an epoch."""
        return self.samples.split.steps(self.batch_size)

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from `first_step` on; starting late costs nothing."""
        split, width = self.samples.split, self.samples.features
        batches = self._own(epoch, first_step)
        for step in range(first_step, self.steps()):
            # Where this host's part has ended, or never was, its ranks still take every step with the others.
            rows, labels = next(batches, None) or (torch.empty(0, width), torch.empty(0))
            yield Batch(step=step, rows=rows, labels=labels, global_count=split.count(self.batch_size, step))

    def _own(self, epoch: int, first_step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield features and labels of this rank's share of each batch, as long as its part has samples."""
        split = self.samples.split
        share = split.batch_sizes(self.batch_size)[split.part]
        if not share:
            return
        streaming = StreamingLoader(
            self.samples.dataset, share, seed=self.seed, shuffle=self.shuffle, rank=split.rank, world=split.world
        )
        streaming.epoch, streaming.step = epoch, first_step
        for batch in streaming:
            yield self.samples.fields.split(batch)


def as_tensors(columns: Columns) -> dict[str, Any]:
    """Turn the numeric columns of a batch into tensors that share their memory."""
    return {
        name: torch.from_numpy(column) if isinstance(column, np.ndarray) and column.dtype.kind in "biuf" else column
        for name, column in columns.items()
    }


def open_samples(dataset: Dataset, label: str, ranks: Ranks, *, sharded: bool) -> Samples:
    """Take a dataset as rows with labels; call it on every rank.

    Fields are chosen by the first sample of the first host that has any, so that a host without data knows them too.
    """
    split = split_of(len(dataset), ranks, sharded=sharded, channel=dataset.channel)
    source = next(part for part, size in enumerate(split.sizes) if size) * ranks.local_world
    own = None
    if ranks.rank == source:
        own = describe_first(dataset.read(np.zeros(1, dtype=np.int64))[0], label, dataset.channel)
    told = json.loads(ranks.broadcast(own, source) or b"{}")
    fields = Fields(told["label"], tuple(told["features"]), told["width"])
    return Samples(dataset, fields, np.array(told["first"], dtype=np.float32), split)


def describe_first(columns: Columns, label: str, channel: str) -> bytes:
    """Put the fields of a channel, and its first sample as a row with the label first, into words for other ranks."""
    fields = choose_fields(columns, label, channel)
    rows, labels = fields.split(as_tensors(columns))
    first = torch.nan_to_num(torch.cat([labels, rows[0]])).tolist()
    return json.dumps({**asdict(fields), "first": first}).encode()
