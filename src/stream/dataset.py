"""Samples of a channel by number, whatever their format."""

from collections.abc import Sequence

import numpy as np

from .plan import Positions, locate
from .shards import BadRecords, Read, Shard, join


class Dataset:
    """The shards of a channel, end to end: sample ids count through them, shard 0 first."""

    def __init__(self, channel: str, shards: Sequence[Shard], *, on_bad_record: str = "stop") -> None:
        self.channel = channel
        self.shards = tuple(shards)
        self.sizes = tuple(shard.records for shard in shards)
        self.bad = BadRecords(channel, skip=on_bad_record == "skip")

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
        if len(self.shards) == 1 or not len(sample_ids):
            return self.shards[0].read(sample_ids, self.bad)
        numbers, rows = locate(self.sizes, sample_ids)
        order = np.argsort(numbers, kind="stable")
        borders = np.flatnonzero(np.diff(numbers[order])) + 1
        parts = []
        for places in np.split(order, borders):
            columns, kept = self.shards[numbers[places[0]]].read(rows[places], self.bad)
            if columns:
                parts.append((places if kept is None else places[kept], columns))
        there = np.sort(np.concatenate([places for places, _ in parts])) if parts else np.zeros(0, dtype=np.int64)
        if len(there) == len(sample_ids):
            return join(parts, len(sample_ids)), None
        return join([(np.searchsorted(there, places), columns) for places, columns in parts], len(there)), there
