"""Text and columnar files turned into records of one stride, once a host, in the scratch folder.

Parsing text costs a hundred times what a gather costs, and a row of text cannot be found by its number. So a table is
parsed block by block into an NPY file, one structured record a row, which appears under its name only when it is whole.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, FormatError, PlatformError
from ..formats.layout import Field, Layout
from .files import File

Block = Mapping[str, NDArray[Any]]
"""Rows `[n, ...]` of each column."""


def cached_name(file: File, variant: str) -> str:
    """Name of what is derived from a file: another path, size, time of change or way of reading is another name."""
    status = file.path.stat()
    key = f"{file.path.absolute()}\0{status.st_size}\0{status.st_mtime_ns}\0{variant}"
    return hashlib.sha256(key.encode()).hexdigest()[:24]


def write_table(target: Path, blocks: Iterator[Block], *, name: str, bytes_hint: int) -> None:
    """Write blocks of rows to a structured NPY file that appears only when it is whole.

    Args:
        target: the file.
        blocks: columns of the same names, types and shapes in every block.
        name: file that the rows come from, for messages.
        bytes_hint: about how much will be written.

    Raises:
        PlatformError: the disk is too small.
        DataError: a block has other columns than the first.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _check_room(target.parent, bytes_hint, name)
    partial = target.with_suffix(f".{os.getpid()}.partial")
    try:
        with partial.open("wb") as out:
            _write_blocks(out, blocks, name)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def read_layout(path: Path) -> tuple[File, Layout]:
    """Open what `write_table` wrote."""
    with path.open("rb") as handle:
        np.lib.format.read_magic(handle)
        shape, _, dtype = np.lib.format.read_array_header_2_0(handle)
        start = handle.tell()
    places = {name: (place[0], place[1]) for name, place in (dtype.fields or {}).items()}
    fields = {name: Field(kind.base, kind.shape, offset) for name, (kind, offset) in places.items()}
    file = File(path.name, path, path.stat().st_size)
    return file, Layout(start, dtype.itemsize, shape[0], fields)


def _write_blocks(out: BinaryIO, blocks: Iterator[Block], name: str) -> None:
    dtype: np.dtype[Any] | None = None
    rows = 0
    for block in blocks:
        found = np.dtype(
            [(column, values.dtype.newbyteorder("<"), values.shape[1:]) for column, values in block.items()]
        )
        if dtype is None:
            dtype = found
            _write_header(out, dtype, 0)
        elif found != dtype:
            raise DataError(f"File {name}: from row {rows + 1} on the columns are {found}, before {dtype}.")
        count = len(next(iter(block.values())))
        records = np.empty(count, dtype=dtype)
        for column, values in block.items():
            records[column] = values
        records.tofile(out)
        rows += count
    out.seek(0)
    _write_header(out, dtype or np.dtype([("label", "<f4")]), rows)


def _write_header(out: BinaryIO, dtype: np.dtype[Any], rows: int) -> None:
    """Write the header; numpy pads it so that a larger number of rows fits in the same place."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (rows,)}
    np.lib.format.write_array_header_2_0(out, header)


def _check_room(folder: Path, needed: int, name: str) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise PlatformError(
            f"File {name} needs about {needed:,} bytes in {folder} to be read by row number, {free:,} are free. Choose "
            f"a larger VolumeSizeInGB, or turn the data into RecordIO or NPY once with `prepare`."
        )


def split_label(rows: NDArray[np.float32]) -> Block:
    """Columns of rows with the label first, as SageMaker's CSV has them."""
    return {"label": rows[:, 0], "features": rows[:, 1:]}


def located(error: FormatError, name: str, channel: str) -> DataError:
    """Say where the broken text stands."""
    return DataError(f"Channel {channel!r}, file {name}: {error}")
