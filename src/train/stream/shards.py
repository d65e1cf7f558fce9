"""The files of a channel as arrays, label in the first column, that samples are gathered from.

NPY files are memory-mapped where they lie. CSV files are parsed once a host, block by block, into NPY files in the
scratch folder, and mapped from there: memory stays constant whatever the size of the channel.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from ...contract.channels import Channel
from ...errors import ConfigError, DataError, FormatError, PlatformError
from ...formats import csv, npy
from .plan import Positions, locate

Rows = NDArray[np.float32]

_BLOCK_BYTES = 16 << 20
_BLOCK_VALUES = 4 << 20
_SUFFIX_OF_TYPE = {"text/csv": ".csv", "application/x-npy": ".npy"}


@dataclass(frozen=True, slots=True)
class Block:
    """Neighbouring rows of one file."""

    rows: Rows
    """Samples `[n, 1 + features]`, label first."""
    shard: int
    """Number of the file among the shards."""
    first_row: int
    """Number, from 0, of the first of them in the file."""


@dataclass(frozen=True, slots=True)
class Shards:
    """The samples of a channel."""

    channel: str
    arrays: tuple[NDArray[Any], ...]
    """One array `[rows, 1 + features]` for each file, label first."""
    files: tuple[str, ...]
    """Name of each file, for messages."""

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
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which the survey refuses
            for number in np.unique(shard):
                chosen = shard == number
                rows[chosen] = self.arrays[number][row[chosen]]
        return rows

    def blocks(self, first: int = 0, stride: int = 1, block_values: int = _BLOCK_VALUES) -> Iterator[Block]:
        """Every `stride`-th block of rows from block `first` on: the share of one rank of one pass over everything."""
        block_rows = max(block_values // (1 + self.features), 1)
        starts = [(shard, row) for shard, size in enumerate(self.sizes) for row in range(0, size, block_rows)]
        for shard, row in starts[first::stride]:
            with np.errstate(over="ignore"):
                rows = np.asarray(self.arrays[shard][row : row + block_rows], dtype=np.float32)
            yield Block(rows, shard, row)

    def place(self, shard: int, row: int) -> str:
        """Name a row as a person finds it: CSV by line from 1, NPY by index from 0."""
        name = self.files[shard]
        where = f"row {row}" if name.lower().endswith(".npy") else f"line {row + 1}"
        return f"Channel {self.channel!r}, file {name}, {where}"


def open_shards(channel: Channel, *, scratch: Path, parses: bool, barrier: Callable[[], None]) -> Shards:
    """Open all files of a channel.

    Args:
        channel: where the files are and what they hold.
        scratch: folder for parsed CSV files, shared by the ranks of a host for as long as the run lasts.
        parses: whether this rank parses CSV files for its host; the others wait.
        barrier: waits for all ranks.

    Raises:
        ConfigError: the channel comes in a way that this version does not read.
        DataError: no file, files that do not fit together, or a broken record.
    """
    _check_mode(channel)
    files, suffix = _data_files(channel)
    sources = dict(zip(files, files, strict=True))
    if suffix == ".csv":
        sources = {path: scratch / f"{channel.name}-{number}.npy" for number, path in enumerate(files)}
        if parses:
            for path, target in sources.items():
                _parse_csv(path, target, channel.name)
        barrier()
    mapped = [(path.relative_to(channel.path), _map_npy(source, path, channel)) for path, source in sources.items()]
    filled = [(str(name), array) for name, array in mapped if len(array)]
    if not filled:
        raise DataError(
            f"Channel {channel.name!r}: no record in its files ({len(files)}, such as {files[0].name}). Expected one "
            f"sample a line or row: put data there, or another S3 prefix into the job."
        )
    names, arrays = zip(*filled, strict=True)
    _check_same_width(names, arrays, channel.name)
    return Shards(channel.name, arrays, names)


def _check_mode(channel: Channel) -> None:
    if channel.mode == "Pipe":
        raise ConfigError(
            f"Channel {channel.name!r} has TrainingInputMode Pipe. The built-in models read File and FastFile: set "
            f"input_mode to 'File' or 'FastFile'."
        )


def _data_files(channel: Channel) -> tuple[list[Path], str]:
    """Files of a channel in a stable order, and their common suffix.

    Names of files and folders that start with a dot or an underscore are not data, as Hadoop has it.
    """
    everything = sorted(path for path in channel.path.rglob("*") if path.is_file()) if channel.path.is_dir() else []
    files = [path for path in everything if not re.search(r"(?:^|/)[._]", str(path.relative_to(channel.path)))]
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
            f"Channel {channel.name!r} holds files that end in {' and '.join(map(repr, sorted(suffixes)))}, such as "
            f"{files[0].name}. Expected .csv or .npy files only, one kind in a channel: name them so, or give the "
            f"channel a ContentType of {' or '.join(_SUFFIX_OF_TYPE)}."
        )
    return files, suffixes.pop()


def _parse_csv(path: Path, target: Path, channel: str) -> None:
    """Parse a CSV file block by block into an NPY file of float32."""
    try:
        with target.open("wb") as out:
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
    except FormatError as error:
        raise DataError(f"Channel {channel!r}, file {path.name}: {error}") from error
    except OSError as error:
        raise PlatformError(
            f"Channel {channel!r}, file {path.name}: {error}. Expected it to be readable, and room for its numbers in "
            f"{target.parent}: raise VolumeSizeInGB or send NPY files."
        ) from error


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


def _map_npy(path: Path, shown: Path, channel: Channel) -> NDArray[Any]:
    """Map an NPY file `[rows, 1 + features]`; `shown` is the file that the user knows."""
    try:
        with path.open("rb") as file:
            header = npy.read_header(file.read(npy.PREFIX))
    except FormatError as error:
        raise DataError(f"Channel {channel.name!r}, file {shown.name}: {error}") from error
    shape, size = header.shape, path.stat().st_size - header.offset
    if len(shape) != 2 or shape[1] < 2 or header.size != size:
        raise DataError(
            f"Channel {channel.name!r}, file {shown.name}: found shape {list(shape)} and {size} bytes of "
            f"{header.dtype}. Expected shape [rows, 1 + features], label first, and {header.size} bytes: write it "
            f"with numpy.save."
        )
    if not shape[0]:  # nothing to map
        return np.empty(shape, dtype=header.dtype)
    order: Literal["F", "C"] = "F" if header.fortran_order else "C"
    return np.memmap(path, header.dtype, "r", header.offset, shape, order)


def _check_same_width(names: Sequence[str], arrays: Sequence[NDArray[Any]], channel: str) -> None:
    first = arrays[0].shape[1]
    for name, array in zip(names, arrays, strict=True):
        if array.shape[1] != first:
            raise DataError(
                f"Channel {channel!r}: {name} has {array.shape[1]} columns, {names[0]} has {first}. Expected the same "
                f"number in every file: the label and then the features."
            )
