"""Parquet through pyarrow, in order: large batches of rows read ahead by Arrow, cut into small ones."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from cases import Case, Source
from peers.pixels import pillow

GROUP = 16_384
"""Rows of a row group and of a read."""


def write(source: Source, folder: Path) -> None:
    """A fixed-size list (or binary for JPEG) and the label, not compressed."""
    case = source.case
    folder.mkdir(parents=True, exist_ok=True)
    width = int(np.prod(case.shape))
    kind = pa.binary() if case.jpeg else pa.list_(pa.from_numpy_dtype(np.dtype(case.dtype)), width)
    if case.dtype == "uint8" and not case.jpeg:
        kind = pa.binary(width)
    schema = pa.schema([("x", kind), ("y", pa.from_numpy_dtype(np.dtype(case.label)))])
    with pq.ParquetWriter(folder / "data.parquet", schema, compression="none", use_dictionary=False) as out:
        for start in range(0, case.records, GROUP):
            stop = min(start + GROUP, case.records)
            out.write_table(pa.table({"x": column(source, start, stop, kind), "y": source.labels[start:stop]}, schema))


def column(source: Source, start: int, stop: int, kind: pa.DataType) -> pa.Array:
    """The features of some records."""
    if source.case.jpeg:
        return pa.array([source.file(number).read_bytes() for number in range(start, stop)])
    flat = np.ascontiguousarray(source.features[start:stop]).reshape(-1)
    if pa.types.is_fixed_size_binary(kind):
        return pa.FixedSizeBinaryArray.from_buffers(kind, stop - start, [None, pa.py_buffer(flat)])
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), type=kind)


class InOrder:
    """Iterates over one Parquet file."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case = case
        self.file = pq.ParquetFile(folder / "data.parquet", memory_map=True)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """One epoch."""
        size = self.case.batch if self.case.jpeg else GROUP
        for rows in self.file.iter_batches(size):
            labels = rows["y"].to_numpy().copy()
            features = self.features(rows["x"])
            for start in range(0, len(labels), self.case.batch):
                stop = start + self.case.batch
                yield torch.from_numpy(features[start:stop].copy()), torch.from_numpy(labels[start:stop])

    def features(self, rows: pa.Array) -> np.ndarray:
        """`[rows, *shape]`."""
        if self.case.jpeg:
            return np.stack([pillow(row) for row in rows.to_pylist()])
        if pa.types.is_fixed_size_binary(rows.type):
            width = rows.type.byte_width
            data = np.frombuffer(rows.buffers()[1], np.uint8)[rows.offset * width :][: len(rows) * width]
        else:
            data = rows.flatten().to_numpy()
        return data.reshape(-1, *self.case.shape)


def loader(case: Case, folder: Path, *, workers: int) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of one epoch at each iteration."""
    del workers
    return InOrder(case, folder)
