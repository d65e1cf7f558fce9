"""The samples of a channel as models take them: a row and a label each."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError
from ..stream.dataset import Dataset
from ..stream.folders import ImageFolder
from ..stream.loader import StreamingLoader
from ..stream.shards import Columns
from .fields import Fields, Wish, choose_fields
from .ranks import Ranks
from .split import Split, split_of

log = logging.getLogger("twofold.train")

Rows = NDArray[np.float32]

_BLOCK_VALUES = 4 << 20
_NAMES_AT_ONCE = 4096
_SOME_AT_ONCE = 32
_ROWS, _LABELS = "rows", "labels"


@dataclass(frozen=True, slots=True)
class Batch:
    """What one rank sees of one global batch."""

    step: int
    """Number of the global batch in its epoch, from 0."""
    rows: Tensor
    """Rows `[n, *shape]` as `Fields` makes them; n can be 0 where a short last batch leaves nothing for this rank."""
    labels: Tensor
    """Labels `[n]` float32 as they stand in the data; for tokens those that follow, `[n, t]` int64."""
    global_count: int
    """Samples of the global batch over all ranks, the divisor of its mean loss."""
    sample_ids: NDArray[np.int64] | None = None
    """Ids `[n]` of the samples in their part of the channel; None for those of a pipe, which have none."""


@dataclass(frozen=True, slots=True)
class Block:
    """Samples that are looked at together."""

    rows: Rows
    """Samples `[n, 1 + features]`, label first; for tokens `[n, t + 1]`, exact up to 16 million."""
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
    names: tuple[str, ...] = ()
    """Names of the classes 0, 1, ..., where folders have given them."""
    is_text: bool = False
    """Whether tokens are bytes of text."""

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

    def loader(self, batch_size: int, seed: int, *, shuffle: bool, tensor: int = 1) -> "Loader":
        """Return the batches of an epoch, of `batch_size` samples over all ranks; each `tensor` ranks see the same."""
        return Loader(replace(self, split=self.split.grouped(tensor)), batch_size, seed, shuffle)

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
            return Block(as_table(*self.fields.empty), sample_ids[:0])
        try:
            rows, labels = self.fields.split(as_tensors(columns))
        except DataError as error:
            if len(sample_ids) > 1:
                # One by one it shows which: a sample that alone is sound has the fields and the width of the first.
                for sample in sample_ids:
                    self.read(np.array([sample]))
            raise DataError(f"{self.place(int(sample_ids[0]))}: {error}") from error
        return Block(as_table(rows, labels), sample_ids if kept is None else sample_ids[kept])

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """Labels of this host's samples where they are known without reading these, as from folders of images."""
        folders = [shard for shard in self.dataset.shards if isinstance(shard, ImageFolder)]
        if self.fields.takes != "pixels" or len(folders) < len(self.dataset.shards):
            return None
        return np.concatenate([np.zeros(0, dtype=np.int64), *(folder.labels for folder in folders)])

    def some(self, count: int) -> Iterator[Block]:
        """Yield this rank's share of about `count` samples, evenly spread over all of this host's."""
        stride = max(len(self.dataset) // count, 1)
        ids = np.arange(self.split.rank * stride, len(self.dataset), self.split.world * stride)
        for start in range(0, len(ids), _SOME_AT_ONCE):
            yield self.read(ids[start : start + _SOME_AT_ONCE])

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
        split = self.samples.split
        batches = self._own(epoch, first_step)
        for step in range(first_step, self.steps()):
            # Where this host's part has ended, or never was, its ranks still take every step with the others.
            rows, labels, ids = next(batches, None) or (*self.samples.fields.empty, np.zeros(0, dtype=np.int64))
            count = split.count(self.batch_size, step)
            yield Batch(step=step, rows=rows, labels=labels, global_count=count, sample_ids=ids)

    def _own(self, epoch: int, first_step: int) -> Iterator[tuple[Tensor, Tensor, NDArray[np.int64]]]:
        """Yield features, labels and ids of this rank's share of each batch, as long as its part has samples."""
        split = self.samples.split
        share = split.batch_sizes(self.batch_size)[split.part]
        if not share:
            return
        fields = self.samples.fields
        streaming = StreamingLoader(
            self.samples.dataset,
            share,
            seed=self.seed,
            shuffle=self.shuffle,
            rank=split.rank,
            world=split.world,
            # Images are resized in the reading thread, beside the steps; for the rest it is not worth a dictionary.
            transform=_split_by(fields) if fields.takes == "pixels" else None,
        )
        streaming.epoch, streaming.step = epoch, first_step
        for batch, ids in streaming.batches():
            pair = (batch[_ROWS], batch[_LABELS]) if fields.takes == "pixels" else fields.split(batch)
            yield *pair, ids


def _split_by(fields: Fields) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    def split(batch: Mapping[str, Any]) -> dict[str, Any]:
        rows, labels = fields.split(batch)
        return {_ROWS: rows, _LABELS: labels}

    return split


def as_table(rows: Tensor, labels: Tensor) -> Rows:
    """Put rows and labels into one table: label first and then the row's values; or whole samples of tokens."""
    if labels.dim() == 2:
        return torch.cat([rows, labels[:, -1:]], dim=1).float().numpy()
    return torch.cat([labels[:, None], rows.flatten(1).float()], dim=1).numpy()


def as_tensors(columns: Columns) -> dict[str, Any]:
    """Turn the numeric columns of a batch into tensors that share their memory."""
    return {
        name: torch.from_numpy(column) if isinstance(column, np.ndarray) and column.dtype.kind in "biuf" else column
        for name, column in columns.items()
    }


@dataclass(frozen=True, slots=True)
class Reading:
    """How a job reads its channels."""

    label: str = ""
    """Field that the hyperparameter `label` names, or empty."""
    wish: Wish = "numbers"
    """What the model takes."""
    image_size: int = 0
    """Side in pixels to which images are brought; 0: the first one's own."""
    context: int = 0
    """Tokens of a row, where text or one long row of tokens has to be cut."""


def open_samples(
    dataset: Dataset, reading: Reading, ranks: Ranks, *, sharded: bool, names: tuple[str, ...] = ()
) -> Samples:
    """Take a dataset as rows with labels, `names` of the classes if they are known; call it on every rank.

    Fields are chosen by the first sample of the first host that has any, so that a host without data knows them too.
    """
    split = split_of(len(dataset), ranks, sharded=sharded, channel=dataset.channel)
    source = next(part for part, size in enumerate(split.sizes) if size) * ranks.local_world
    own = None
    if ranks.rank == source:
        own = describe_first(dataset.read(np.zeros(1, dtype=np.int64))[0], reading, dataset.channel)
    fields, first = fields_of(ranks.broadcast(own, source) or b"{}")
    if fields.text_label:
        names = names or _collect_names(dataset, fields.label, split, ranks)
        fields = replace(fields, names=names)
    return Samples(dataset, fields, first, split, names)


def _collect_names(dataset: Dataset, label: str, split: Split, ranks: Ranks) -> tuple[str, ...]:
    """Find all words that are labels, in order; each rank looks at its share of the samples."""
    own: set[str] = set()
    for start in range(split.rank * _NAMES_AT_ONCE, len(dataset), split.world * _NAMES_AT_ONCE):
        columns, _ = dataset.read(np.arange(start, min(start + _NAMES_AT_ONCE, len(dataset))))
        own.update(word for word in columns.get(label, []) if isinstance(word, str))
    everybody: set[str] = set()
    for rank in range(ranks.world):
        told = json.dumps(sorted(own)).encode() if rank == ranks.rank else None
        everybody.update(json.loads(ranks.broadcast(told, rank) or b"[]"))
    return tuple(sorted(everybody))


def describe_first(columns: Columns, reading: Reading, channel: str) -> bytes:
    """Put the fields of a channel, and its first sample as a row with the label first, into words for other ranks."""
    fields = choose_fields(columns, reading.label, channel, reading.wish, reading.image_size)
    # What number a word has is known only when all are; no mean depends on it.
    fields = replace(fields, names=tuple(columns[fields.label])) if fields.text_label else fields
    first = torch.nan_to_num(torch.from_numpy(as_table(*fields.split(as_tensors(columns)))[0])).tolist()
    return json.dumps({"fields": asdict(fields), "first": first}).encode()


def fields_of(described: bytes) -> tuple[Fields, Rows]:
    """Read what `describe_first` has written."""
    told = json.loads(described)
    made: dict[str, Any] = told["fields"]
    made |= {name: tuple(made[name]) for name in ("features", "shape", "names")}
    return Fields(**made), np.array(told["first"], dtype=np.float32)
