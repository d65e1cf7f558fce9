"""litdata: chunks made by `optimize`, its `StreamingDataset` and `StreamingDataLoader`, shuffled."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import litdata
import numpy as np
import torch
from cases import BLOCK, Case, Source
from peers.pixels import pillow


def write(source: Source, folder: Path) -> None:
    """One item a record, by its own `optimize`."""
    starts = range(0, source.case.records, BLOCK)
    blocks = [(start, min(start + BLOCK, source.case.records)) for start in starts]
    litdata.optimize(
        partial(_items, source), blocks, str(folder), chunk_bytes="64MB", num_workers=1, keep_data_ordered=True
    )


def _items(source: Source, block: tuple[int, int]) -> Iterator[dict[str, object]]:
    for number in range(*block):
        features = source.file(number).read_bytes() if source.case.jpeg else source.features[number]
        label = number if source.case.jpeg else float(number)
        yield {"x": features, "y": label}


def loader(case: Case, folder: Path, *, workers: int) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of one epoch at each iteration."""

    def collate(items: list[dict[str, object]]) -> tuple[torch.Tensor, torch.Tensor]:
        rows = [pillow(item["x"]) if case.jpeg else item["x"] for item in items]
        labels = np.array([item["y"] for item in items], case.label)
        return torch.from_numpy(np.stack(rows)), torch.from_numpy(labels)

    dataset = litdata.StreamingDataset(str(folder), shuffle=True)
    return litdata.StreamingDataLoader(
        dataset, batch_size=case.batch, num_workers=workers, persistent_workers=workers > 0, collate_fn=collate
    )
