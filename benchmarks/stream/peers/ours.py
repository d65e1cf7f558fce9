"""twofold: its StreamingLoader with exact order, shuffle and resume on, over formats that it reads."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from cases import Case, Source
from twofold.formats import aialgs, parquet, tfrecord, webdataset
from twofold.stream.catalog import Host, open_dataset
from twofold.stream.loader import StreamingLoader

SHARDS = 8
NAMES = {"tar": ("jpg", "cls"), "folder": ("image", "label")}
ENCODERS = {"recordio": aialgs.encode, "tfrecord": tfrecord.encode, "tar": webdataset.encode}
GROUP = 16_384
"""Rows of a row group."""


def write(source: Source, folder: Path, form: str) -> None:
    """Even shards of one format, by its own encoders."""
    folder.mkdir(parents=True, exist_ok=True)
    if form == "folder":
        _write_folder(source, folder)
        return
    size = -(-source.case.records // SHARDS)
    for shard in range(SHARDS):
        numbers = range(shard * size, min((shard + 1) * size, source.case.records))
        write_shard(source, folder / f"{shard:03d}.{form}", numbers, form)


def write_shard(source: Source, path: Path, numbers: range, form: str) -> None:
    """One file of records."""
    with path.open("wb") as out:
        if form == "parquet":
            writer = parquet.Writer(out)
            for start in range(numbers.start, numbers.stop, GROUP):
                rows = slice(start, min(start + GROUP, numbers.stop))
                writer.write({"features": source.features[rows], "label": source.labels[rows]})
            writer.close()
            return
        for number in numbers:
            out.write(ENCODERS[form](_sample(source, number)))
        out.write(bytes(1024) if form == "tar" else b"")


def _sample(source: Source, number: int) -> dict[str, object]:
    if source.case.jpeg:
        return {"__key__": f"{number:08d}", "jpg": source.file(number).read_bytes(), "cls": str(number)}
    return {"features": source.features[number], "label": source.labels[number]}


def _write_folder(source: Source, folder: Path) -> None:
    # The number of a class is its place in sorted order, so the number of a record is its class.
    for number in range(source.case.records):
        (folder / f"{number:08d}").mkdir()
        (folder / f"{number:08d}" / "image.jpg").hardlink_to(source.file(number))


def open_loader(folder: Path, batch_size: int, *, scratch: Path, seed: int = 0) -> StreamingLoader:
    """The loader as a training script gets it; the one place that all benchmarks make it in.

    Args:
        folder: a channel.
        batch_size: samples of a global batch.
        scratch: where indices of unprepared data are kept.
        seed: of the order.
    """
    threads = ThreadPoolExecutor(os.cpu_count() or 1)
    dataset = open_dataset(folder, channel="train", host=Host(scratch), threads=threads)
    return StreamingLoader(dataset, batch_size, seed=seed)


class Epochs:
    """Batches as pairs; one epoch an iteration."""

    def __init__(self, case: Case, folder: Path, form: str) -> None:
        self.names = NAMES.get(form, ("features", "label"))
        self.scratch = tempfile.TemporaryDirectory()
        self.loader = open_loader(folder, case.batch, scratch=Path(self.scratch.name))

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """One epoch."""
        features, label = self.names
        for batch in self.loader:
            yield batch[features], batch[label]


def loader(case: Case, folder: Path, *, form: str) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of one epoch at each iteration."""
    return Epochs(case, folder, form)
