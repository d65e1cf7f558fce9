"""The files of a channel as arrays, label in the first column, that samples are gathered from.

NPY files are memory-mapped where they lie. CSV files are parsed once a host, block by block, into NPY files in the
scratch folder, and mapped from there: memory stays constant whatever the size of the channel.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...contract.channels import Channel
from ...errors import ConfigError, DataError, FormatError
from ...formats import csv
from .plan import Positions, locate

Rows = NDArray[np.float32]

_BLOCK_BYTES = 16 << 20
_SUFFIX_OF_TYPE = {"text/csv": ".csv", "application/x-npy": ".npy"}


@dataclass(frozen=True, slots=True)
class Shards:
    """The samples of a channel."""

    channel: str
    arrays: tuple[NDArray[Any], ...]
    """One array `[rows, 1 + features]` for each file, label first."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Samples in each file."""
        return tuple(len(array) for array in self.arrays)

    @property
    def samples(self) -> int:
        """Samples in all files."""
        return sum(self.sizes)

    @property
    def features(self) -> int:
        """Values of one sample, the label apart."""
        return int(self.arrays[0].shape[1]) - 1

    def gather(self, sample_ids: Positions) -> Rows:
        """Samples `[n, 1 + features]`, label first, in the order of `sample_ids` `[n]`."""
        shard, row = locate(self.sizes, sample_ids)
        rows = np.empty((len(sample_ids), 1 + self.features), dtype=np.float32)
        for number in np.unique(shard):
            chosen = shard == number
            rows[chosen] = self.arrays[number][row[chosen]]
        return rows

    def blocks(self, first: int, stride: int, block_rows: int = 1 << 16) -> Iterator[Rows]:
        """Every `stride`-th block of rows from block `first` on: the share of one rank of one pass over everything."""
        starts = [(array, row) for array in self.arrays for row in range(0, len(array), block_rows)]
        for array, row in starts[first::stride]:
            yield np.asarray(array[row : row + block_rows], dtype=np.float32)


def open_shards(channel: Channel, *, scratch: Path, parses: bool, barrier: Callable[[], None]) -> Shards:
    """Open all files of a channel.

    Args:
        channel: where the files are and what they hold.
        scratch: folder for parsed CSV files, shared by the ranks of a host.
        parses: whether this rank parses CSV files for its host; the others wait.
        barrier: waits for all ranks.

    Raises:
        ConfigError: the channel comes in a way that this version does not read.
        DataError: no file, files that do not fit together, or a broken record.
    """
    _check_mode(channel)
    files = _data_files(channel)
    parsed = {path: _parsed_path(path, scratch) for path in files if path.suffix == ".csv"}
    try:
        if parses:
            for path, target in parsed.items():
                if not target.exists():
                    _parse_csv(path, target, channel.name)
    finally:
        barrier()
    mapped = [(path, _map_npy(parsed.get(path, path), path, channel.name)) for path in files]
    filled = [(path, array) for path, array in mapped if len(array)]
    if not filled:
        raise DataError(f"Channel {channel.name!r}: {len(files)} files without one record in {channel.path}.")
    _check_same_width(filled, channel.name)
    return Shards(channel.name, tuple(array for _, array in filled))


def _check_mode(channel: Channel) -> None:
    if channel.mode == "Pipe":
        raise ConfigError(
            f"Channel {channel.name!r} has TrainingInputMode Pipe. The built-in models read File and FastFile: set "
            f"input_mode to 'File' or 'FastFile'."
        )


def _data_files(channel: Channel) -> list[Path]:
    """Files of a channel in a stable order; names that start with a dot or an underscore are not data."""
    everything = sorted(path for path in channel.path.rglob("*") if path.is_file()) if channel.path.is_dir() else []
    files = [path for path in everything if not path.name.startswith((".", "_"))]
    if not files:
        raise DataError(
            f"Channel {channel.name!r} is empty: no file in {channel.path}. Likely causes: the S3 prefix of the "
            f"channel has no objects or misses its last '/'; the channel has another name; the role may not "
            f"read the bucket."
        )
    declared = _SUFFIX_OF_TYPE.get((channel.content_type or "").split(";")[0].strip().lower())
    suffixes = {declared or path.suffix.lower() for path in files}
    if len(suffixes) > 1 or not suffixes <= set(_SUFFIX_OF_TYPE.values()):
        raise DataError(
            f"Channel {channel.name!r} holds {', '.join(sorted(suffixes)) or 'files'} files, such as {files[0].name}. "
            f"Expected .csv or .npy files only, one kind in a channel, or a ContentType of "
            f"{' or '.join(_SUFFIX_OF_TYPE)}."
        )
    return files


def _parsed_path(path: Path, scratch: Path) -> Path:
    """Where the parsed form of a CSV file lies: another path, size or time of change is another file."""
    status = path.stat()
    key = f"{path.absolute()}\0{status.st_size}\0{status.st_mtime_ns}"
    return scratch / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npy"


def _parse_csv(path: Path, target: Path, channel: str) -> None:
    """Parse a CSV file block by block into an NPY file of float32, which appears only when it is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(f".{os.getpid()}.partial")
    try:
        with partial.open("wb") as out:
            rows, columns = 0, None
            for block, first_line in _csv_blocks(path):
                part = csv.decode(block, first_line=first_line, columns=columns)
                if columns is None and len(part):
                    columns = part.shape[1]
                    _write_npy_header(out, 0, columns)
                part.tofile(out)
                rows += len(part)
            out.seek(0)
            _write_npy_header(out, rows, columns or 2)
        partial.replace(target)
    except FormatError as error:
        raise DataError(f"Channel {channel!r}, file {path.name}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _csv_blocks(path: Path) -> Iterator[tuple[bytes, int]]:
    """Blocks of whole lines and the number, from 1, of the first line of each."""
    first_line = 1
    with path.open("rb") as file:
        while lines := file.readlines(_BLOCK_BYTES):
            yield b"".join(lines), first_line
            first_line += len(lines)


def _write_npy_header(out: BinaryIO, rows: int, columns: int) -> None:
    """Write the header of a float32 array; numpy pads it so that a larger number of rows fits in the same place."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (rows, columns)}
    np.lib.format.write_array_header_1_0(out, header)


def _map_npy(path: Path, shown: Path, channel: str) -> NDArray[Any]:
    """Map an NPY file `[rows, 1 + features]`; `shown` is the file that the user knows."""
    try:
        array: NDArray[Any] | None = np.load(path, mmap_mode="r", allow_pickle=False) if path.stat().st_size else None
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"Channel {channel!r}, file {shown.name}: not a readable NPY file: {error}") from error
    if array is None or array.ndim != 2 or array.shape[1] < 2 or array.dtype.kind not in "fiub":
        found = "an empty file" if array is None else f"an array of shape {array.shape} and type {array.dtype}"
        raise DataError(
            f"Channel {channel!r}, file {shown.name}: found {found}. Expected numbers of shape "
            f"[rows, 1 + features], label first."
        )
    return array


def _check_same_width(filled: list[tuple[Path, NDArray[Any]]], channel: str) -> None:
    first_path, first = filled[0]
    for path, array in filled:
        if array.shape[1] != first.shape[1]:
            raise DataError(
                f"Channel {channel!r}: {path.name} has {array.shape[1]} columns, {first_path.name} has "
                f"{first.shape[1]}. Expected the same number in every file: the label and then the features."
            )
