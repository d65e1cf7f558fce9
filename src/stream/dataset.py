"""Samples of a channel by number, whatever their format."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np

from .plan import Positions, locate
from .shards import BadRecords, Read, Shard, join


@runtime_checkable
class Remote(Shard, Protocol):
    """A shard far away: reading is asked for first and waited for later."""

    def request(self, rows: Positions) -> Callable[[BadRecords], Read]:
        """Begin to fetch records `[n]`, and return what waits for them."""


class Dataset:
    """The shards of a channel, end to end: sample ids count through them, shard 0 first."""

    def __init__(self, channel: str, shards: Sequence[Shard], *, on_bad_record: str = "stop") -> None:
        self.channel = channel
        self.shards = tuple(shards)
        self.sizes = tuple(shard.records for shard in shards)
        self.bad = BadRecords(channel, skip=on_bad_record == "skip")
        self.remote = any(isinstance(shard, Remote) for shard in shards)
        """Whether samples come over a network, so that few large requests beat many small ones."""

    def __len__(self) -> int:
        """Samples of all shards."""
        return sum(self.sizes)

    @property
    def record_bytes(self) -> float:
        """Mean size of a sample in memory."""
        total = sum(shard.record_bytes * shard.records for shard in self.shards)
        return total / max(len(self), 1)

    def read(self, sample_ids: Positions) -> Read:
        """Read samples `[n]` in the order asked for; broken ones that are skipped are missing from the columns.

        Raises:
            DataError: a broken record, unless those are skipped; or shards of different fields.
        """
        return self.request(sample_ids)()

    def request(self, sample_ids: Positions) -> Callable[[], Read]:
        """Begin to read samples `[n]` where they are far away, and return what reads them; see `read`."""
        if len(self.shards) == 1 or not len(sample_ids):
            return partial(self._begin(0, sample_ids), self.bad)
        numbers, rows = locate(self.sizes, sample_ids)
        order = np.argsort(numbers, kind="stable")
        borders = np.flatnonzero(np.diff(numbers[order])) + 1
        asked = [(places, self._begin(numbers[places[0]], rows[places])) for places in np.split(order, borders)]
        return partial(self._join, len(sample_ids), asked)

    def _join(self, total: int, asked: list[tuple[Positions, Callable[[BadRecords], Read]]]) -> Read:
        parts = []
        for places, read in asked:
            columns, kept = read(self.bad)
            if columns:
                parts.append((places if kept is None else places[kept], columns))
        there = np.sort(np.concatenate([places for places, _ in parts])) if parts else np.zeros(0, dtype=np.int64)
        if len(there) == total:
            return join(parts, total), None
        return join([(np.searchsorted(there, places), columns) for places, columns in parts], len(there)), there

    def _begin(self, number: int, rows: Positions) -> Callable[[BadRecords], Read]:
        shard = self.shards[number]
        return shard.request(rows) if self.remote and isinstance(shard, Remote) else partial(shard.read, rows)
