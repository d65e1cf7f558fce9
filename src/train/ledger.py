"""Keeps the ledger of a run: which samples each step has seen, over all ranks."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import ConfigError, DataError
from .ledger_file import LEDGER, Head, append_entry, entry_after, hash_ids, read_ledger, write_ledger
from .piped import PipedSamples
from .ranks import Ranks
from .samples import Samples


class Ledger:
    """The ledger of a run on one rank of many; call it on every rank."""

    def __init__(self, folder: Path, training: Samples | PipedSamples, ranks: Ranks) -> None:
        """Take the folder of the file, and the samples.

        Raises:
            ConfigError: samples of a pipe, which have no ids.
        """
        if isinstance(training, PipedSamples):
            raise ConfigError(
                "ledger is set, and the training channel is in Pipe mode, whose samples have no numbers. Expected File "
                "or FastFile mode: change the input mode, or leave 'ledger' out."
            )
        self._path, self._ranks = folder / LEDGER, ranks
        self._head, self._part = Head(sizes=list(training.split.sizes)), training.split.part

    def go_on(self, step: int) -> None:
        """Forget what came after the step that the run goes on from."""
        if not self._ranks.is_first:
            return
        try:
            head, entries = read_ledger(self._path)
        except DataError:
            head, entries = self._head, []
        write_ledger(self._path, self._head, [e for e in entries if e.step <= step] if head == self._head else [])

    def add(self, chain: str, *, step: int, epoch: int, ids: NDArray[np.int64]) -> str:
        """Add the samples that this rank has seen in a step, and return the chain that now ends there."""
        # Sums of two's complements wrap as those modulo 2^64 do.
        own = np.array([hash_ids(ids, self._part), len(ids)], dtype=np.uint64).view(np.int64)
        total, samples = self._ranks.sum(torch.from_numpy(own).to(self._ranks.device)).tolist()
        entry = entry_after(chain, step=step, epoch=epoch, samples=samples, total=total)
        if self._ranks.is_first:
            append_entry(self._path, entry)
        return entry.chain
