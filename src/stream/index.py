"""The index beside a prepared dataset: what its shards are, so that opening a thousand of them reads one file.

    index.json                {"twofold": 1, "format", "layout" | null, "schema", "statistics",
                               "shards": [{"name", "records", "bytes", "crc32c"}]}
    .NAME.index.npy           of a shard whose records differ in size: starts and stops, int64 [2, records]

Names that start with a dot are no data for whoever lists the folder.
"""

import os
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import DataError
from ..formats import npy
from ..formats.layout import Field as LayoutField
from ..formats.layout import Index, Layout
from ..formats.sniff import Kind
from .files import File

NAME = "index.json"
_PARTS = "index-*.json"


class FieldEntry(BaseModel):
    """A field of a record of fixed size, as `Layout` has it."""

    model_config = ConfigDict(frozen=True)

    dtype: Annotated[str, Field(pattern=r"^[<>|=]?([biuf][1248]|[Vbiuf]1)$")]
    shape: list[Annotated[int, Field(ge=0)]]
    offset: int
    varint: Annotated[int, Field(ge=0, le=10)] = 0
    raw: bool = False


class LayoutEntry(BaseModel):
    """Records of one stride; the number of records is each shard's own."""

    model_config = ConfigDict(frozen=True)

    offset: int
    stride: int
    fields: dict[str, FieldEntry]
    fixed: list[tuple[int, str]]
    """Offset and bytes in hexadecimal digits."""
    checksums: list[tuple[int, int, int]] = []

    @model_validator(mode="after")
    def _check(self) -> "LayoutEntry":
        """Refuse what would be read outside a record; raises ValueError."""
        if self.offset < 0 or self.stride < 1:
            raise ValueError(f"offset {self.offset} and stride {self.stride}, expected at least 0 and 1")
        spans = [(field.offset, field.size) for field in self.layout(0).fields.values()]
        spans += [(offset, len(bytes.fromhex(content))) for offset, content in self.fixed]
        spans += [(start, stop - start) for place, start, stop in self.checksums]
        spans += [(place, 4) for place, _, _ in self.checksums]
        if any(offset < 0 or size < 0 or offset + size > self.stride for offset, size in spans):
            raise ValueError(f"a field lies outside the record of {self.stride} bytes")
        return self

    @classmethod
    def of(cls, layout: Layout) -> "LayoutEntry":
        """Describe a layout."""
        return cls(
            offset=layout.offset,
            stride=layout.stride,
            fields={
                name: FieldEntry(
                    dtype=field.dtype.str,
                    shape=list(field.shape),
                    offset=field.offset,
                    varint=field.varint,
                    raw=field.raw,
                )
                for name, field in layout.fields.items()
            },
            fixed=[(offset, content.hex()) for offset, content in layout.fixed],
            checksums=list(layout.checksums),
        )

    def layout(self, records: int) -> Layout:
        """Return the layout of a shard of so many records."""
        return replace(self._layout, records=records)

    @cached_property
    def _layout(self) -> Layout:
        fields = {
            name: LayoutField(np.dtype(entry.dtype), tuple(entry.shape), entry.offset, entry.varint, entry.raw)
            for name, entry in self.fields.items()
        }
        fixed = tuple((offset, bytes.fromhex(content)) for offset, content in self.fixed)
        return Layout(self.offset, self.stride, 0, fields, fixed, tuple(self.checksums))


class ShardEntry(BaseModel):
    """One shard."""

    model_config = ConfigDict(frozen=True)

    name: str
    records: Annotated[int, Field(ge=0)]
    bytes: Annotated[int, Field(ge=0)]
    crc32c: str
    """Castagnoli CRC of the whole file, eight hexadecimal digits."""


class Manifest(BaseModel):
    """Content of `index.json`."""

    model_config = ConfigDict(frozen=True)

    twofold: Literal[1] = 1
    """Version of this form."""
    format: str
    """Name of the format of all shards."""
    layout: LayoutEntry | None = None
    """Where the records lie, if all have one size."""
    shards: list[ShardEntry]
    schema_: Annotated[dict[str, Any], Field(alias="schema")] = {}
    statistics: dict[str, Any] = {}

    @property
    def kind(self) -> Kind:
        """Format of all shards."""
        return Kind(self.format)

    def files(self, folder: Path) -> list[tuple[File, int]]:
        """Files of the shards, as they were when the index was written, each with its records."""
        return [(File(shard.name, folder / shard.name, shard.bytes), shard.records) for shard in self.shards]

    @model_validator(mode="after")
    def _check(self) -> "Manifest":
        """Refuse what would be read outside a shard or outside the folder; raises ValueError."""
        if self.format not in set(Kind):
            raise ValueError(f"format is {self.format!r}, expected one of: {', '.join(Kind)}")
        for shard in self.shards:
            if shard.name.startswith("/") or ".." in shard.name.split("/"):
                raise ValueError(f"shard {shard.name!r} lies outside the folder")
            needed = self.layout.offset + self.layout.stride * shard.records if self.layout else 0
            if needed > shard.bytes:
                raise ValueError(f"shard {shard.name!r} has {shard.bytes} bytes, its records need {needed}")
        return self


def read(folder: Path) -> list[Manifest]:
    """Read the index of a folder, or that of each host that has prepared a part of it; none where there is none.

    Raises:
        DataError: one is broken, or hosts have written different formats.
    """
    whole = folder / NAME
    parts = [whole] if whole.is_file() else sorted(folder.glob(_PARTS))
    manifests = [_read(path) for path in parts]
    if len({manifest.format for manifest in manifests}) > 1:
        raise DataError(
            f"{folder}: the indexes {', '.join(path.name for path in parts)} name several formats. Expected the output "
            f"of one `prepare` in a folder: prepare each into a folder of its own."
        )
    return manifests


def _read(path: Path) -> Manifest:
    return parse(path.read_bytes(), str(path))


def parse(content: bytes, name: str) -> Manifest:
    """Read the content of an index; `name` is what messages call it.

    Raises:
        DataError: it is broken.
    """
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(f"{name}: {where}: {first['msg']}. Remove it, or run `prepare` again.") from error


def write(folder: Path, manifest: Manifest) -> None:
    """Write the index of a folder, whole or not at all."""
    partial = folder / f".{NAME}.partial"
    partial.write_text(manifest.model_dump_json(by_alias=True), encoding="utf-8")
    partial.replace(folder / NAME)


def read_index(path: Path, size: int) -> Index | None:
    """Read starts and stops of records of a file of `size` bytes; None where it is missing, or does not fit."""
    try:
        with path.open("rb") as file:
            pairs = npy.load(file)
    except (OSError, ValueError, EOFError):
        return None
    if pairs.ndim != 2 or len(pairs) != 2 or pairs.dtype != np.int64:
        return None
    starts, stops = pairs
    inside = ((starts >= 0) & (starts <= stops) & (stops <= size)).all()
    return Index(starts, stops) if inside else None


def write_index(path: Path, index: Index) -> None:
    """Write starts and stops of records, whole or not at all."""
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial.npy")
    np.save(partial, np.stack([index.starts, index.stops]), allow_pickle=False)
    partial.replace(path)


def index_path(shard: Path) -> Path:
    """Where the index of a shard lies beside it."""
    return shard.with_name(f".{shard.name}.index.npy")
