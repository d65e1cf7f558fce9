"""Hugging Face datasets: an Arrow dataset on disk, in torch's DataLoader (shuffled) or its own `iter` (in order)."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from cases import BLOCK, Case, Source
from datasets import Dataset, Features, List, Value, load_from_disk
from peers.pixels import pillow
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

Batch = tuple[torch.Tensor, torch.Tensor]


def write(source: Source, folder: Path) -> None:
    """Lists of fixed length for arrays, binary for JPEG."""
    case = source.case
    x = Value("binary") if case.jpeg else List(Value(case.dtype), length=int(np.prod(case.shape)))
    features = Features({"x": x, "y": Value(case.label)})

    def rows() -> Iterator[dict[str, object]]:
        for start in range(0, case.records, BLOCK):
            for number in range(start, min(start + BLOCK, case.records)):
                row = source.file(number).read_bytes() if case.jpeg else source.features[number].reshape(-1)
                yield {"x": row, "y": number}

    dataset = Dataset.from_generator(rows, features=features, cache_dir=str(folder / "cache"))
    dataset.save_to_disk(str(folder / "data"))


def loader(case: Case, folder: Path, *, workers: int, shuffle: bool, form: str = "torch") -> Iterable[Batch]:
    """Batches of one epoch at each iteration.

    Args:
        case: the case.
        folder: where `write` wrote.
        workers: processes of torch's DataLoader.
        shuffle: False iterates with the dataset's own `iter`.
        form: "torch" as most write it, or "arrow" with the conversion by hand, the fastest way that we found.
    """
    dataset = load_from_disk(str(folder / "data")).with_format("python" if case.jpeg else form)
    collate = Collate(case)
    if not shuffle:
        return InOrder(dataset, collate)
    # A batch of numbers goes to the dataset at once, and one batch comes back.
    numbers = BatchSampler(RandomSampler(dataset), case.batch, drop_last=False)
    return DataLoader(
        dataset,
        sampler=numbers,
        batch_size=None,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=collate,
    )


class Collate:
    """Makes tensors of what the dataset gives for a batch."""

    def __init__(self, case: Case) -> None:
        self.case = case

    def __call__(self, columns: object) -> Batch:
        """A batch."""
        rows, labels = columns["x"], columns["y"]
        if self.case.jpeg:
            return torch.from_numpy(np.stack([pillow(row) for row in rows])), torch.tensor(labels)
        if isinstance(columns, pa.Table):
            flat = rows.combine_chunks().flatten().to_numpy()
            rows, labels = torch.from_numpy(flat.copy()), torch.from_numpy(labels.to_numpy().copy())
        # The torch format gives whole numbers as int64.
        return rows.reshape(-1, *self.case.shape).to(getattr(torch, self.case.dtype)), labels


class InOrder:
    """The dataset's own iteration by batches."""

    def __init__(self, dataset: Dataset, collate: Collate) -> None:
        self.dataset = dataset
        self.collate = collate

    def __iter__(self) -> Iterator[Batch]:
        """One epoch."""
        for columns in self.dataset.iter(batch_size=self.collate.case.batch):
            yield self.collate(columns)
