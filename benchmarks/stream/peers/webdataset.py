"""webdataset: tar shards; shards and a buffer of samples shuffled, batched in the pipeline as documented."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import webdataset as wds
from cases import Case, Source
from peers.pixels import pillow

SHARD = 64 << 20
BUFFER = 1_000


def write(source: Source, folder: Path) -> None:
    """Raw bytes of the features (the cheapest field to decode) or the JPEG, and the label as text."""
    folder.mkdir(parents=True, exist_ok=True)
    name = "jpg" if source.case.jpeg else "bin"
    with wds.ShardWriter(str(folder / "%05d.tar"), maxcount=1 << 62, maxsize=SHARD, verbose=0) as out:
        for number, row in source.rows():
            data = row if isinstance(row, bytes) else row.tobytes()
            out.write({"__key__": f"{number:08d}", name: data, "cls": str(number).encode()})


def loader(case: Case, folder: Path, *, workers: int) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of one epoch at each iteration."""

    def decode(data: bytes) -> np.ndarray:
        return pillow(data) if case.jpeg else np.frombuffer(data, case.dtype).reshape(case.shape)

    def collate(samples: list[tuple[np.ndarray, bytes]]) -> tuple[torch.Tensor, torch.Tensor]:
        labels = np.array([int(label) for _, label in samples], case.label)
        return torch.from_numpy(np.stack([row for row, _ in samples])), torch.from_numpy(labels)

    shards = sorted(map(str, folder.glob("*.tar")))
    dataset = (
        wds.WebDataset(shards, shardshuffle=len(shards), empty_check=False)
        .shuffle(BUFFER)
        .to_tuple("jpg" if case.jpeg else "bin", "cls")
        .map_tuple(decode, lambda label: label)
        .batched(case.batch, collation_fn=collate)
    )
    return wds.WebLoader(dataset, batch_size=None, num_workers=workers, persistent_workers=workers > 0)
