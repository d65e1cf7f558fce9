"""mosaicml-streaming: MDS shards, its `StreamingDataset` and `StreamingDataLoader`, shuffled by its default (py1e)."""

import sys
import types
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from cases import Case, Source

# Its `vision` datasets (not used here) import torchvision, whose build for CUDA does not load beside torch's CPU build.
sys.modules["streaming.vision"] = types.ModuleType("streaming.vision")

from peers.pixels import pillow  # noqa: E402
from streaming import MDSWriter, StreamingDataLoader, StreamingDataset  # noqa: E402
from streaming.base.util import clean_stale_shared_memory  # noqa: E402


def write(source: Source, folder: Path) -> None:
    """One MDS sample a record."""
    case = source.case
    features = "jpeg" if case.jpeg else f"ndarray:{case.dtype}:" + ",".join(map(str, case.shape))
    with MDSWriter(columns={"x": "bytes" if case.jpeg else features, "y": case.label}, out=str(folder)) as out:
        for number, row in source.rows():
            out.write({"x": row, "y": source.labels[number]})


class Images(StreamingDataset):
    """Decodes as its documentation does: in `__getitem__`."""

    def __getitem__(self, at: int) -> dict[str, object]:
        """One decoded sample."""
        sample = super().__getitem__(at)
        return {"x": pillow(sample["x"]), "y": sample["y"]}


def loader(case: Case, folder: Path, *, workers: int) -> Iterable[tuple[object, object]]:
    """Batches of one epoch at each iteration."""
    clean_stale_shared_memory()
    kind = Images if case.jpeg else StreamingDataset
    dataset = kind(local=str(folder), shuffle=True, batch_size=case.batch)
    return StreamingDataLoader(
        dataset, batch_size=case.batch, num_workers=workers, persistent_workers=workers > 0, collate_fn=collate
    )


def collate(samples: list[dict[str, np.ndarray]]) -> tuple[object, object]:
    """Stack with numpy: faster than torch's default here."""
    return torch.from_numpy(np.stack([s["x"] for s in samples])), torch.from_numpy(np.array([s["y"] for s in samples]))
