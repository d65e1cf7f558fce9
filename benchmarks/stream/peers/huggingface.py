"""Hugging Face datasets: an Arrow dataset on disk, in torch's DataLoader (shuffled) or its own `iter` (in order)."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from cases import BLOCK, Case, Source
from datasets import Dataset, Features, List, Value, load_from_disk
from peers.pixels import pillow


def write(source: Source, folder: Path) -> None:
    """Fixed-size lists for vectors and arrays, binary for JPEG."""
    case = source.case
    x = Value("binary") if case.jpeg else List(Value(case.dtype), length=int(np.prod(case.shape)))
    features = Features({"x": x, "y": Value(case.label)})

    def blocks() -> Iterator[dict[str, object]]:
        for start in range(0, case.records, BLOCK):
            for number in range(start, min(start + BLOCK, case.records)):
                row = source.file(number).read_bytes() if case.jpeg else source.features[number].reshape(-1)
                yield {"x": row, "y": number}

    dataset = Dataset.from_generator(blocks, features=features, cache_dir=str(folder / "cache"), keep_in_memory=False)
    dataset.save_to_disk(str(folder / "data"))


def loader(
    case: Case, folder: Path, *, workers: int, shuffle: bool
) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of one epoch at each iteration."""
    dataset = load_from_disk(str(folder / "data"))
    if case.jpeg:
        dataset = dataset.with_format("python")
    else:
        dataset = dataset.with_format("torch")
    return InOrder(dataset, case) if not shuffle else shuffled(dataset, case, workers)


def shuffled(dataset: Dataset, case: Case, workers: int) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
    """Random rows by torch's sampler; the dataset fetches a batch at once (`__getitems__`)."""

    def collate(rows: list[dict[str, object]]) -> tuple[torch.Tensor, torch.Tensor]:
        return batch(case, [row["x"] for row in rows], [row["y"] for row in rows])

    return torch.utils.data.DataLoader(
        dataset,
        batch_size=case.batch,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=collate,
    )


class InOrder:
    """The dataset's own iteration by batches."""

    def __init__(self, dataset: Dataset, case: Case) -> None:
        self.dataset = dataset
        self.case = case

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """One epoch."""
        for columns in self.dataset.iter(batch_size=self.case.batch):
            yield batch(self.case, columns["x"], columns["y"])


def batch(case: Case, rows: object, labels: object) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch as tensors."""
    if case.jpeg:
        return torch.from_numpy(np.stack([pillow(row) for row in rows])), torch.tensor(labels)
    x = torch.stack(rows) if isinstance(rows, list) else rows
    y = torch.stack(labels) if isinstance(labels, list) else labels
    return x.reshape(-1, *case.shape), y
