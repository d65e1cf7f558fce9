"""What is read: whatever the input is, a run of so many units of measure that ranges of can be read."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..errors import DataError, FormatError
from ..formats import sniff
from ..formats.sniff import Kind
from ..stream.catalog import HEAD_BYTES, Host, open_dataset
from ..stream.files import File, list_files
from ..stream.shards import BadRecords, Columns
from . import shaping, text
from .options import Options
from .pictures import Archives, Pictures
from .records import ParquetRows, Samples


class Source(Protocol):
    """Records in an order that depends on the input alone."""

    size: int
    """Units of measure: bytes of text, or records."""

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, Columns]]:
        """Yield the records of a range: how far this came, and their columns."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What is found out once and told to all workers."""

    kind: Kind | None
    """None: a prepared dataset."""
    facts: text.Facts | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """A source, and what was found out about it."""

    source: Source
    bad: BadRecords
    learned: Learned
    schema: dict[str, Any] = field(default_factory=dict)
    """Beyond types and shapes of the columns."""


def open_source(options: Options, files: list[File], scratch: Path, learned: Learned | None = None) -> Opened:
    """Open the input.

    Args:
        options: what was asked for.
        files: the input as it was listed once.
        scratch: folder for what is derived from the data.
        learned: what was found out before; None finds it out.

    Raises:
        DataError: nothing that can be read.
    """
    learned = learned or _learn(options, files)
    name, kind = options.input.name, learned.kind
    bad = BadRecords(name, skip=options.on_bad_record == "skip")
    if learned.facts is not None:
        return Opened(text.TextTable(files, learned.facts, bad), bad, learned)
    if kind is Kind.PARQUET:
        return Opened(ParquetRows(files, bad), bad, learned)
    if kind is Kind.TAR:
        decode = options.format in shaping.BY_STRIDE
        return Opened(Archives(files, bad, decode=decode, plain=options.format != "tar"), bad, learned)
    if kind is Kind.IMAGE:
        pictures = Pictures(files, bad, options)
        return Opened(pictures, bad, learned, {"classes": list(pictures.classes)})
    dataset = open_dataset(
        options.input,
        channel=name,
        host=Host(scratch),
        content_type=options.content_type,
        on_bad_record=options.on_bad_record,
    )
    return Opened(Samples(dataset), dataset.bad, learned)


def _learn(options: Options, files: list[File]) -> Learned:
    if options.input.is_dir() and any(options.input.glob("index*.json")):
        return Learned(None)
    kind = recognise(files, options.content_type)
    return Learned(kind, text.learn(files, kind, options.content_type) if kind in text.KINDS else None)


def recognise(files: list[File], content_type: str | None) -> Kind:
    """Find the kind that all files share.

    Raises:
        DataError: none, or several.
    """
    found: dict[Kind, str] = {}
    for file in files:
        try:
            with file.path.open("rb") as handle:
                found.setdefault(sniff.recognise(handle.read(HEAD_BYTES), file.name, content_type), file.name)
        except FormatError as error:
            raise DataError(f"File {file.name}: {error}") from error
    if len(found) != 1:
        shown = ", ".join(f"{kind.value} ({name})" for kind, name in found.items()) or "nothing"
        raise DataError(f"The input holds {shown}. Expected files of one kind: move the others elsewhere.")
    return next(iter(found))


def input_files(folder: Path) -> list[File]:
    """List the input.

    Raises:
        DataError: it is not there.
    """
    if not folder.exists():
        raise DataError(f"{folder} does not exist. Expected the folder or file to be read: correct IN.")
    return list_files(folder)
