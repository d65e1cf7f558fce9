"""twofold: its StreamingLoader with exact order, shuffle and resume on, over formats that it reads."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from cases import Case, Source
from twofold import StreamingLoader
from twofold.formats import aialgs, tfrecord, webdataset

SHARDS = 8
NAMES = {"tar": ("jpg", "cls"), "folder": ("image", "label")}


def write(source: Source, folder: Path, form: str) -> None:
    """Even shards of one format, by its own encoders."""
    case = source.case
    folder.mkdir(parents=True, exist_ok=True)
    if form == "folder":
        _write_folder(source, folder)
        return
    encode = {"recordio": aialgs.encode, "tfrecord": tfrecord.encode, "tar": webdataset.encode}[form]
    size = -(-case.records // SHARDS)
    for shard in range(SHARDS):
        numbers = range(shard * size, min((shard + 1) * size, case.records))
        with (folder / f"{shard:03d}.{form}").open("wb") as out:
            for number in numbers:
                out.write(encode(_sample(source, number)))
            out.write(bytes(1024) if form == "tar" else b"")


def _sample(source: Source, number: int) -> dict[str, object]:
    if source.case.jpeg:
        return {"__key__": f"{number:08d}", "jpg": source.file(number).read_bytes(), "cls": number}
    return {"features": source.features[number], "label": source.labels[number]}


def _write_folder(source: Source, folder: Path) -> None:
    # The number of a class is its place in sorted order, so the number of a record is its class.
    for number in range(source.case.records):
        (folder / f"{number:08d}").mkdir()
        (folder / f"{number:08d}" / "image.jpg").hardlink_to(source.file(number))


class Epochs:
    """Batches as pairs; one epoch an iteration."""

    def __init__(self, case: Case, folder: Path, form: str) -> None:
        self.names = NAMES.get(form, ("features", "label"))
        self.loader = StreamingLoader(folder, batch_size=case.batch, seed=0, shuffle=True)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """One epoch."""
        features, label = self.names
        for batch in self.loader:
            yield batch[features], batch[label]


def loader(case: Case, folder: Path, *, form: str) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of one epoch at each iteration."""
    return Epochs(case, folder, form)
