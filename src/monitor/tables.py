"""Training data, whatever its format, as columns of single numbers and texts."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..baseline.columns import flat
from ..baseline.summary import Block
from ..contract.paths import scratch
from ..errors import DataError, FormatError
from ..formats import sniff
from ..formats.sniff import Kind
from ..stream.catalog import HEAD_BYTES, Host, open_dataset
from ..stream.files import File, Maps, list_files
from ..stream.rows import KINDS, blocks
from ..stream.shards import Columns

_BLOCK_ROWS = 1 << 14
_BLOCK_BYTES = 1 << 24


def read_blocks(folder: Path, content_type: str | None = None) -> Iterator[tuple[Block, int]]:
    """Read everything below a folder, or one file: columns, and how many rows they have.

    A vector `features` becomes `features_0`, `features_1`, ...; what has no number or text a row is left out.

    Raises:
        DataError: nothing there, or nothing that can be read.
    """
    if not folder.exists():
        raise DataError(f"{folder} does not exist. Expected the folder or file with the data: correct the path.")
    files = list_files(folder)
    told: set[str] = set()
    if files and not (folder.is_dir() and any(folder.glob("index*.json"))):
        kind = _kind(files[0], content_type)
        if kind in KINDS:
            yield from (flat(part, told) for file in files if file.size for part in _table(kind, file))
            return
    with tempfile.TemporaryDirectory(dir=scratch(), prefix="twofold-monitor-") as place:
        dataset = open_dataset(folder, channel=folder.name, host=Host(Path(place)), content_type=content_type)
        step = int(min(max(_BLOCK_BYTES / max(dataset.record_bytes, 1), 1), _BLOCK_ROWS))
        for first in range(0, len(dataset), step):
            columns, _ = dataset.read(np.arange(first, min(first + step, len(dataset))))
            yield flat(columns, told)


def _table(kind: Kind, file: File) -> Iterator[Columns]:
    try:
        yield from blocks(kind, file, Maps())
    except FormatError as error:
        raise DataError(f"File {file.name}: {error}") from error


def _kind(file: File, content_type: str | None) -> Kind:
    try:
        with file.path.open("rb") as handle:
            return sniff.recognise(handle.read(HEAD_BYTES), file.name, content_type)
    except FormatError as error:
        raise DataError(f"File {file.name}: {error}") from error
