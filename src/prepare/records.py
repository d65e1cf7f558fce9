"""Records by number: samples of anything that `stream` opens, and rows of Parquet."""

import bisect
from collections.abc import Iterator
from itertools import accumulate

import numpy as np

from ..errors import DataError, FormatError
from ..formats import parquet
from ..stream.dataset import Dataset
from ..stream.files import File, Maps
from ..stream.shards import BadRecords, Columns

BLOCK_BYTES = 1 << 22
"""Decoded bytes of a block, about."""
MAX_BLOCK = 8192
"""Most records of a block."""


class Samples:
    """Samples of a dataset, by number."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset, self.size = dataset, len(dataset)
        self._block = block_rows(dataset.record_bytes)

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, Columns]]:
        """Yield samples."""
        for first in range(start, stop, self._block):
            last = min(first + self._block, stop)
            columns, _ = self._dataset.read(np.arange(first, last))
            if columns:
                yield last, columns


class ParquetRows:
    """Rows of Parquet files."""

    def __init__(self, files: list[File], bad: BadRecords) -> None:
        self._bad, self._maps = bad, Maps()
        groups = [(file, number, rows) for file in files for number, rows in enumerate(self._parquet(file).group_rows)]
        self._groups = [(file, number) for file, number, rows in groups if rows]
        self._ends = list(accumulate(rows for _, _, rows in groups if rows))
        self.size = self._ends[-1] if self._ends else 0
        total = sum(file.size for file in files)
        self._block = block_rows(4 * total / max(self.size, 1))

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, Columns]]:
        """Yield rows of the row groups that the range touches."""
        for place in range(bisect.bisect_right(self._ends, start), len(self._groups)):
            first = self._ends[place - 1] if place else 0
            if first >= stop:
                return
            file, number = self._groups[place]
            yield from self._group(file, number, first, start, stop)

    def _group(self, file: File, number: int, first: int, start: int, stop: int) -> Iterator[tuple[int, Columns]]:
        """Yield rows of one group.

        A broken row takes its row group with it: pages are compressed as a whole, and nothing in them can be trusted.
        """
        try:
            columns = self._parquet(file).group(number)
        except FormatError as error:
            self._bad.found(file.name, error)
            return
        last = min(stop - first, len(next(iter(columns.values()))))
        for place in range(max(start - first, 0), last, self._block):
            end = min(place + self._block, last)
            yield first + end, {name: column[place:end] for name, column in columns.items()}

    def _parquet(self, file: File) -> parquet.Parquet:
        try:
            return parquet.open_file(self._maps.map(file))
        except FormatError as error:
            raise DataError(f"File {file.name}: {error}") from error


def block_rows(record_bytes: float) -> int:
    """Records of a block, given the bytes of one."""
    return int(min(max(BLOCK_BYTES / max(record_bytes, 1), 1), MAX_BLOCK))
