"""One unit of the input made into shards, which appear under their names when they are whole."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c

from ..stream.index import LayoutEntry, index_path, write_index
from ..stream.shards import BadRecords, Columns
from . import shaping, split
from .options import Options
from .source import Source
from .statistics import Statistics
from .units import Unit
from .writers import SUFFIXES, Writer, open_writer

_CRC_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Made:
    """A shard that is whole, as the journal has it."""

    split: str
    name: str
    records: int
    bytes: int
    crc32c: str
    layout: dict[str, Any] | None
    statistics: dict[str, Any]
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Done:
    """A unit that is done."""

    unit: int
    shards: list[Made] = field(default_factory=list)
    skipped: int = 0
    first_skipped: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON, without loss."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Done":
        """Undo `to_json`."""
        return cls(**{**content, "shards": [Made(**made) for made in content["shards"]]})


class _Part:
    """The shard of one split while it is written."""

    def __init__(self, options: Options, split_name: str, unit: Unit) -> None:
        self.split = split_name
        folder = options.output / split_name
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{options.prefix}{unit.number:05d}.{SUFFIXES[options.format]}"
        self._partial = partial_path(self.path)
        self._out: BinaryIO = self._partial.open("w+b")
        self._writer: Writer = open_writer(options.format, self._out)
        self._options, self._unit = options, unit
        self._statistics, self._schema, self._records = Statistics(), dict[str, Any](), 0

    def write(self, columns: Columns) -> None:
        rows = len(next(iter(columns.values())))
        if not rows:
            return
        label = shaping.LABEL if shaping.LABEL in columns else "cls"
        self._statistics.add(columns, label)
        fitted = shaping.fitted(columns, self._options.format, self._records, self._unit.number)
        self._schema = shaping.merged(self._schema, shaping.described(fitted))
        self._writer.write(fitted)
        self._records += rows

    def finish(self, joined: list[str]) -> Made | None:
        """Make the shard appear; None if there is nothing in it. `joined` are the columns in the vector of features."""
        shape = self._writer.close()
        if not shape.records:
            return None
        if joined:
            self._schema[shaping.FEATURES] = {**self._schema[shaping.FEATURES], "columns": joined}
        self._out.flush()
        crc, size = _crc(self._out)
        if shape.index is not None:
            write_index(index_path(self.path), shape.index)
        os.replace(self._partial, self.path)  # noqa: PTH105 - as `Path.replace`, on a path that another may have made
        layout = None if shape.layout is None else LayoutEntry.of(shape.layout).model_dump(mode="json")
        statistics = self._statistics.to_json()
        return Made(self.split, self.path.name, shape.records, size, crc, layout, statistics, self._schema)

    def close(self) -> None:
        self._out.close()
        self._partial.unlink(missing_ok=True)


def convert(
    options: Options, unit: Unit, source: Source, bad: BadRecords, progress: Callable[[int], None] = lambda _: None
) -> Done:
    """Read a unit and write its shards.

    Args:
        options: what was asked for.
        unit: which part of the input.
        source: the input.
        bad: where the source reports broken records.
        progress: told how far this came, in the source's units of measure from the unit's start.

    Raises:
        DataError: a broken record, or one that the format cannot hold.
    """
    before = bad.skipped
    names: list[str] = []
    with contextlib.ExitStack() as stack:
        parts = [stack.enter_context(contextlib.closing(_Part(options, name, unit))) for name in options.splits]
        for place, read in source.blocks(unit.start, unit.stop):
            columns = shaping.labelled(read, options.label, options.format)
            names = names or shaping.joined(read, options.label, options.format)
            if len(parts) == 1:
                parts[0].write(columns)
            else:
                aside = split.is_validation(columns, options.validation)
                parts[0].write(shaping.taken(columns, ~aside))
                parts[1].write(shaping.taken(columns, aside))
            progress(place - unit.start)
        made = [shard for part in parts if (shard := part.finish(names)) is not None]
    skipped = bad.skipped - before
    return Done(unit.number, made, skipped, bad.first if skipped else None)


def partial_path(path: Path) -> Path:
    """Where a shard is written before it is whole; names with a dot in front are no data."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def _crc(out: BinaryIO) -> tuple[str, int]:
    """Castagnoli CRC and size of a whole file."""
    out.seek(0)
    crc = size = 0
    while content := out.read(_CRC_BYTES):
        crc = google_crc32c.extend(crc, content)
        size += len(content)
    return f"{crc:08x}", size
