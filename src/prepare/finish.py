"""The index over all shards of a run: where every record is, of what kind, and what its values are."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..formats import aialgs, tfrecord
from ..formats.sniff import Kind
from ..stream.index import LayoutEntry, Manifest, ShardEntry, index_path, write_index
from . import shaping
from .convert import Done, Made
from .options import Options
from .statistics import Statistics

_KINDS = {
    "recordio": Kind.RECORDIO_PROTOBUF,
    "tfrecord": Kind.TFRECORD,
    "tar": Kind.TAR,
    "parquet": Kind.PARQUET,
    "npy": Kind.NPY,
}
_INDEXES = {"recordio": aialgs.index, "tfrecord": tfrecord.index}


def write(options: Options, units: Sequence[Done], schema: dict[str, Any]) -> dict[str, Statistics]:
    """Write the index of each split and return its statistics.

    Args:
        options: what was asked for.
        units: all that is done, in the order of the units.
        schema: what the source knows beyond types and shapes, e.g. the names of classes.
    """
    found = {}
    for split in options.splits:
        shards = [made for unit in units for made in unit.shards if made.split == split]
        statistics = Statistics()
        fields: dict[str, Any] = {}
        for made in shards:
            statistics.merge(Statistics.from_json(made.statistics))
            fields = shaping.merged(fields, made.schema)
        entries = [
            ShardEntry(name=made.name, records=made.records, bytes=made.bytes, crc32c=made.crc32c) for made in shards
        ]
        manifest = Manifest.model_validate(
            {
                "format": _KINDS[options.format].value,
                "layout": _common_layout(options, shards),
                "shards": entries,
                "schema": {"fields": fields, **schema},
                "statistics": {**statistics.summary(), "skipped": sum(unit.skipped for unit in units)},
            }
        )
        _write(options.output / split, options.index_name, manifest)
        found[split] = statistics
    return found


def _common_layout(options: Options, shards: list[Made]) -> LayoutEntry | None:
    """The layout that all shards have; where they differ, every shard gets an index of its own."""
    layouts = {json.dumps(made.layout, sort_keys=True) for made in shards}
    if len(layouts) == 1:
        layout = shards[0].layout
        return None if layout is None else LayoutEntry.model_validate(layout)
    for made in shards:
        if made.layout is not None and options.format in _INDEXES:
            path = options.output / made.split / made.name
            write_index(index_path(path), _INDEXES[options.format](np.memmap(path, dtype=np.uint8, mode="r")))
    return None


def _write(folder: Path, name: str, manifest: Manifest) -> None:
    """Write an index, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{name}.partial"
    partial.write_text(manifest.model_dump_json(by_alias=True), encoding="utf-8")
    partial.replace(folder / name)
