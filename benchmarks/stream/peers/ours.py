"""twofold: its StreamingLoader with exact order, shuffle and resume on, over the formats that it reads."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from cases import Case, Source

SHARDS = 8


def write(source: Source, folder: Path, form: str) -> None:
    """Even shards of one format."""
    raise NotImplementedError(form)


class Epochs:
    """Batches as pairs; one epoch an iteration."""

    def __init__(self, case: Case, folder: Path) -> None:
        from twofold import StreamingLoader

        self.case = case
        self.loader = StreamingLoader(folder, batch_size=case.batch, seed=0, shuffle=True)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """One epoch."""
        for batch in self.loader:
            yield batch["features"], batch["label"]


def loader(case: Case, folder: Path, *, form: str) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of one epoch at each iteration."""
    del form
    return Epochs(case, folder)
