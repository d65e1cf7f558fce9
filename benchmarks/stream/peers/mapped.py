"""What users write over a memory map (or a folder of JPEGs): torch's DataLoader, torchdata's nodes, numpy alone."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from cases import Case, Source
from peers.pixels import DECODERS
from torchdata.nodes import Batcher, Loader, ParallelMapper, SamplerWrapper

Batch = tuple[torch.Tensor, torch.Tensor]


def write(source: Source, folder: Path) -> None:
    """Nothing: the source is their format."""


class Rows(torch.utils.data.Dataset[Batch]):
    """Fetches a whole batch at once, by `__getitems__`."""

    def __init__(self, source: Source, decoder: str) -> None:
        self.source = source
        self.decode = DECODERS[decoder]

    def __len__(self) -> int:
        """Number of records."""
        return self.source.case.records

    def __getitems__(self, rows: list[int]) -> Batch:
        """A batch."""
        at = np.asarray(rows)
        if self.source.case.jpeg:
            features = np.stack([self.decode(self.source.file(row).read_bytes()) for row in rows])
        else:
            features = self.source.features[at]
        return torch.from_numpy(features), torch.from_numpy(self.source.labels[at])


def same(batch: Batch) -> Batch:
    """The batch is collated already."""
    return batch


def loader(case: Case, folder: Path, *, workers: int, decoder: str = "pillow") -> Iterable[Batch]:
    """`__getitems__` in torch's DataLoader."""
    return torch.utils.data.DataLoader(
        Rows(Source(case, folder), decoder),
        batch_size=case.batch,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=same,
    )


def nodes(case: Case, folder: Path, *, workers: int, decoder: str = "pillow") -> Iterable[Batch]:
    """Nodes of torchdata: a random sampler, batches of numbers, a fetch of a whole batch in threads."""
    rows = Rows(Source(case, folder), decoder)
    sampler = SamplerWrapper(torch.utils.data.RandomSampler(rows))
    numbers = Batcher(sampler, batch_size=case.batch, drop_last=False)
    return Loader(ParallelMapper(numbers, rows.__getitems__, num_workers=workers, method="thread"))


class Take:
    """numpy's take of random rows, the rows drawn beforehand: the limit of any loader that gathers."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.source = Source(case, folder)
        rows = np.random.default_rng(0).permutation(case.records)
        self.rows = [rows[start : start + case.batch] for start in range(0, case.records, case.batch)]

    def __iter__(self) -> Iterator[Batch]:
        """One epoch."""
        features, labels = self.source.features, self.source.labels
        for rows in self.rows:
            yield torch.from_numpy(features[rows]), torch.from_numpy(labels[rows])


def take(case: Case, folder: Path, *, workers: int) -> Iterable[Batch]:
    """The limit for records of one size."""
    del workers
    return Take(case, folder)


class Decode:
    """JPEG decoding alone, all files in memory, nothing collated or handed over: the decoder's limit on all cores."""

    def __init__(self, case: Case, folder: Path, workers: int, decoder: str, processes: bool) -> None:
        source = Source(case, folder)
        self.files = [source.file(number).read_bytes() for number in range(case.records)]
        self.batch = case.batch
        self.decoder = decoder
        kind: Callable[..., ProcessPoolExecutor | ThreadPoolExecutor] = ThreadPoolExecutor
        if processes:
            kind = partial(ProcessPoolExecutor, initializer=keep, initargs=(self.files,))
        self.pool = kind(workers)
        self.processes = processes

    def __iter__(self) -> Iterator[Batch]:
        """One epoch; a batch has no features, only its size."""
        starts = range(0, len(self.files), self.batch)
        if not self.processes:
            keep(self.files)
        for done in self.pool.map(partial(decode, self.decoder, self.batch), starts):
            yield torch.empty(0), torch.empty(done)


KEPT: list[bytes] = []


def keep(files: list[bytes]) -> None:
    """Give a process its files."""
    KEPT[:] = files


def decode(decoder: str, batch: int, start: int) -> int:
    """Decode a batch and drop it."""
    files = KEPT[start : start + batch]
    for data in files:
        DECODERS[decoder](data)
    return len(files)


def alone(case: Case, folder: Path, *, workers: int, decoder: str, processes: bool = False) -> Iterable[Batch]:
    """The limit for JPEG."""
    return Decode(case, folder, workers, decoder, processes)
