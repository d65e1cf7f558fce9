"""What a channel holds: recognised, indexed and opened as a dataset.

index.json beside the shards      read it: nothing else is opened before it is used
images in class folders           one shard of them all
records of one stride             a strided view of each file, known from its head and its size
records of any size               an index of each file, built once a host and kept in the scratch folder
tables                            parsed once a host into records of one stride (`tables`)
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError, FormatError
from ..formats import aialgs, npy, recordio, sniff, tfrecord
from ..formats.layout import Buffer, Index, Layout, Sample
from ..formats.sniff import Kind
from . import index, tables
from .dataset import Dataset
from .files import File, Maps, list_files
from .folders import ImageFolder, TarShard
from .shards import IndexedShard, LayoutShard, Shard

HEAD_BYTES = 1 << 16
"""Bytes of a file by which its kind is recognised."""
_HEADS = (1 << 12, 1 << 16, 1 << 20)
"""Bytes of a file in which its first record is looked for, one after the other."""
_LOOKED_AT = 8


@dataclass(frozen=True, slots=True)
class _Records:
    """How a format of single records is read."""

    index: Callable[[Buffer], Index]
    decode: Callable[[memoryview], Sample]
    layout: Callable[[memoryview, int], Layout | None]


def _no_layout(_head: memoryview, _size: int) -> Layout | None:
    return None


def _no_index(_buffer: Buffer) -> Index:
    raise FormatError("The array's rows are not of one stride. Write it in C order with numpy.save.")


_RECORDS: Mapping[Kind, _Records] = {
    Kind.NPY: _Records(_no_index, lambda _: {}, npy.layout),
    Kind.RECORDIO_PROTOBUF: _Records(aialgs.index, aialgs.decode, aialgs.layout),
    Kind.RECORDIO: _Records(recordio.index, recordio.decode, _no_layout),
    Kind.TFRECORD: _Records(tfrecord.index, tfrecord.decode, tfrecord.layout),
}


@dataclass(frozen=True, slots=True)
class Host:
    """The part that this process has on its host: one process does what is done once, the others wait for it."""

    scratch: Path
    """Folder for what is derived from the data, shared by the processes of a host."""
    leads: bool = True
    """Whether this process parses and indexes for the others."""
    barrier: Callable[[], None] = lambda: None
    """Waits for all processes of the job."""


def open_dataset(
    folder: Path,
    *,
    channel: str,
    host: Host,
    content_type: str | None = None,
    on_bad_record: str = "stop",
    threads: Executor | None = None,
) -> Dataset:
    """Open everything below a folder, or one file, as a dataset.

    Args:
        folder: the channel's folder.
        channel: its name, for messages.
        host: who parses and indexes.
        content_type: what the channel says it holds; without it the content decides.
        on_bad_record: `stop` at a broken record, or `skip` it and count.
        threads: for decoding records one by one.

    Raises:
        DataError: no file, files of several kinds, or one that nothing here reads.
    """
    maps = Maps()
    manifest = index.read(folder) if folder.is_dir() else None
    if manifest is not None:
        files = [File(entry.name, folder / entry.name, entry.bytes) for entry in manifest.shards]
        shards = [
            _prepared(file, manifest, entry.records, maps, threads)
            for file, entry in zip(files, manifest.shards, strict=True)
        ]
        return Dataset(channel, [shard for shard in shards if shard.records], on_bad_record=on_bad_record)
    files = list_files(folder)
    if not files:
        raise DataError(
            f"Channel {channel!r} is empty: no file in {folder}. Likely causes: the S3 prefix of the channel has no "
            f"objects or misses its last '/'; the channel has another name; the role may not read the bucket."
        )
    kind = _kind(files, channel, content_type)
    if kind is Kind.IMAGE:
        return Dataset(channel, [ImageFolder(channel, files, threads)], on_bad_record=on_bad_record)
    opened = _open_files(kind, files, channel, host=host, maps=maps, threads=threads)
    filled = [shard for shard in opened if shard.records]
    if not filled:
        raise DataError(f"Channel {channel!r}: {len(files)} files without one record in {folder}.")
    return Dataset(channel, filled, on_bad_record=on_bad_record)


def _kind(files: list[File], channel: str, content_type: str | None) -> Kind:
    """Recognise the kind that all files share."""
    kinds: dict[Kind, str] = {}
    for file in files:
        try:
            with file.path.open("rb") as handle:
                kinds.setdefault(sniff.recognise(handle.read(HEAD_BYTES), file.name, content_type), file.name)
        except FormatError as error:
            raise DataError(f"Channel {channel!r}, file {file.name}: {error}") from error
    if len(kinds) > 1:
        found = ", ".join(f"{kind.value} ({name})" for kind, name in kinds.items())
        raise DataError(
            f"Channel {channel!r} holds files of several kinds: {found}. Expected one kind in a channel: put the "
            f"others elsewhere, or begin their names with a dot or an underscore."
        )
    return next(iter(kinds))


def _open_files(
    kind: Kind, files: list[File], channel: str, *, host: Host, maps: Maps, threads: Executor | None
) -> list[Shard]:
    """Open files one by one, after one process of the host has derived what all need."""
    try:
        if host.leads:
            for file in files:
                _derive(kind, file, host, maps)
    except FormatError as error:
        raise DataError(f"Channel {channel!r}, file {file.name}: {error}") from error
    # Whoever failed above never comes here: the others learn of it by its leaving, and not by a file that is missing.
    host.barrier()
    try:
        return [_open_file(kind, file, host, maps, threads) for file in files]
    except FormatError as error:
        raise DataError(f"Channel {channel!r}: {error}") from error


def _derive(kind: Kind, file: File, host: Host, maps: Maps) -> None:
    """Write what is derived from a file to the scratch folder, unless it is there."""
    target = _derived_path(kind, file, host)
    if tables.derived(target) or not file.size:
        return
    if kind in tables.KINDS:
        tables.derive(kind, file, maps, target)
    elif kind in _RECORDS and _layout(kind, file, maps) is None:
        host.scratch.mkdir(parents=True, exist_ok=True)
        index.write_index(target, _RECORDS[kind].index(maps.map(file)))


def _derived_path(kind: Kind, file: File, host: Host) -> Path:
    return host.scratch / f"{tables.cached_name(file, kind.value)}.npy"


def _open_file(kind: Kind, file: File, host: Host, maps: Maps, threads: Executor | None) -> Shard:
    if kind is Kind.TAR:
        return TarShard(file, maps, threads)
    if kind in tables.KINDS:
        return _open_table(kind, file, tables.derived(_derived_path(kind, file, host)), maps, threads)
    found = _layout(kind, file, maps)
    if found is not None:
        return LayoutShard(file, found, maps)
    known = index.read_index(_derived_path(kind, file, host)) if file.size else Index(*np.zeros((2, 0), dtype=np.int64))
    reading = _RECORDS[kind]
    return IndexedShard(file, maps, known or reading.index(maps.map(file)), reading.decode, threads)


def _open_table(kind: Kind, file: File, derived: Path | None, maps: Maps, threads: Executor | None) -> Shard:
    if derived is None:
        return LayoutShard(file, Layout(0, 1, 0, {}), maps)
    content = File(file.name, derived, derived.stat().st_size)
    if derived.suffix == ".npy":
        return LayoutShard(content, tables.read_layout(derived), maps, first_line=tables.FIRST_LINE.get(kind))
    lines = tables.line_index(maps.map(content))
    return IndexedShard(content, maps, lines, tables.decode_line, threads, first_line=tables.FIRST_LINE.get(kind))


def _layout(kind: Kind, file: File, maps: Maps) -> Layout | None:
    """Layout of a file of one stride, by its first record and its size; the others are checked when they are read.

    A few records are looked at here. Most of them must fit, not all: a damaged record is to be found and named by
    whoever reads it, not to make a file of one stride look like one of any size.
    """
    if not file.size:
        return None
    buffer = maps.map(file)
    heads = (memoryview(buffer[:size]) for size in _HEADS if size < file.size * len(_HEADS))  # type: ignore[arg-type]
    found = next((found for head in heads if (found := _RECORDS[kind].layout(head, file.size)) is not None), None)
    if found is None or (not found.certain and not found.fits(buffer)):
        return None
    records = {found.records * part // _LOOKED_AT for part in range(_LOOKED_AT)}
    fitting = sum(_fits(found, buffer, record) for record in records)
    return found if fitting * 2 > len(records) or not found.records else None


def _fits(layout: Layout, buffer: Buffer, record: int) -> bool:
    try:
        layout.verify(buffer, record, record + 1)
    except FormatError:
        return False
    return True


def _prepared(file: File, manifest: index.Manifest, records: int, maps: Maps, threads: Executor | None) -> Shard:
    """Open a shard of a dataset that has its index beside it; the file itself is not touched yet."""
    kind = Kind(manifest.format)
    if manifest.layout is not None:
        return LayoutShard(file, manifest.layout.layout(records), maps)
    if kind is Kind.TAR:
        return TarShard(file, maps, threads)
    known = index.read_index(index.index_path(file.path))
    return IndexedShard(file, maps, known or _RECORDS[kind].index(maps.map(file)), _RECORDS[kind].decode, threads)
