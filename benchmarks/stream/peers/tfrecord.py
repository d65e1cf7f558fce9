"""tfrecord: `tf.train.Example` in one file with an index, its dataset with a shuffle queue in torch's DataLoader."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from cases import Case, Source
from peers.pixels import pillow
from tfrecord import TFRecordWriter
from tfrecord.tools import tfrecord2idx
from tfrecord.torch.dataset import TFRecordDataset

QUEUE = 1_000
KINDS = {"float32": "float", "int32": "int"}


def write(source: Source, folder: Path) -> None:
    """Floats as a float list, anything else as bytes; the label as a list of one number."""
    folder.mkdir(parents=True, exist_ok=True)
    out = TFRecordWriter(str(folder / "data.tfrecord"))
    for number, row in source.rows():
        if source.case.dtype == "float32":
            features = (row, "float")
        else:
            features = (row if isinstance(row, bytes) else row.tobytes(), "byte")
        out.write({"x": features, "y": (number, KINDS[source.case.label])})
    out.close()
    tfrecord2idx.create_index(str(folder / "data.tfrecord"), str(folder / "data.index"))


def loader(case: Case, folder: Path, *, workers: int) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of one epoch at each iteration."""

    def decode(sample: dict[str, object]) -> tuple[np.ndarray, np.ndarray]:
        row = sample["x"]
        if case.jpeg:
            row = pillow(row)
        elif case.dtype != "float32":
            row = np.frombuffer(row, case.dtype).reshape(case.shape)
        return row, sample["y"]

    def collate(samples: list[tuple[np.ndarray, np.ndarray]]) -> tuple[torch.Tensor, torch.Tensor]:
        return (
            torch.from_numpy(np.stack([row for row, _ in samples])),
            torch.from_numpy(np.concatenate([label for _, label in samples])),
        )

    kinds = {"x": "float" if case.dtype == "float32" else "byte", "y": KINDS[case.label]}
    # One process needs no index; loading it (as text, at each epoch) would only slow the peer down.
    index = str(folder / "data.index") if workers else None
    dataset = TFRecordDataset(str(folder / "data.tfrecord"), index, kinds, shuffle_queue_size=QUEUE, transform=decode)
    return torch.utils.data.DataLoader(
        dataset, batch_size=case.batch, num_workers=workers, persistent_workers=workers > 0, collate_fn=collate
    )
