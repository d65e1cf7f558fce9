"""What a channel holds: recognised, indexed and opened as a dataset.

index.json beside the shards      read it: nothing else is opened before it is used
images in class folders           one shard of them all
records of one stride             a strided view of each file, known from its head and its size
records of any size               an index of each file, built once a host and kept in the scratch folder
tables                            parsed once a host into records of one stride (`tables`)
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from ..errors import DataError, FormatError
from ..formats import aialgs, npy, recordio, sniff, tfrecord
from ..formats.layout import Buffer, Index, Layout, Sample, masked_crc
from ..formats.sniff import Kind
from . import index, rows, tables
from .dataset import Dataset
from .files import File, Maps, gone, list_files
from .folders import ImageFolder, TarShard
from .shards import BadRecords, IndexedShard, LayoutShard, Shard, alike

HEAD_BYTES = 1 << 16
"""Bytes of a file by which its kind is recognised."""
_HEADS = (1 << 9, 1 << 12, 1 << 16, 1 << 20)
"""Bytes of a file in which its first record is looked for, one after the other; others in them must be alike."""
_LOOKED_AT = 8
_EMPTY = Layout(0, 1, 0, {})
_LISTS = {Kind.MANIFEST: "ManifestFile", Kind.AUGMENTED_MANIFEST: "AugmentedManifestFile"}
_Result = TypeVar("_Result")


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


def _sound_example(record: memoryview) -> Sample:
    stored = int.from_bytes(record[-4:], "little")
    computed = masked_crc(bytes(record[tfrecord.HEADER : -4]))
    if stored != computed:
        raise FormatError(
            f"found checksum {stored:#010x}, but the bytes it covers give {computed:#010x}. The record was damaged "
            f"after it was written: copy the file again."
        )
    return tfrecord.decode(record)


_RECORDS: Mapping[Kind, _Records] = {
    Kind.NPY: _Records(_no_index, lambda _: {}, npy.layout),
    Kind.RECORDIO_PROTOBUF: _Records(aialgs.index, aialgs.decode, aialgs.layout),
    Kind.RECORDIO: _Records(recordio.index, recordio.decode, _no_layout),
    Kind.TFRECORD: _Records(tfrecord.index, _sound_example, tfrecord.layout),
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
    may_be_empty: bool = False,
    threads: Executor | None = None,
) -> Dataset:
    """Open everything below a folder, or one file, as a dataset.

    Args:
        folder: the channel's folder.
        channel: its name, for messages.
        host: who parses and indexes.
        content_type: what the channel says it holds; without it the content decides.
        on_bad_record: `stop` at a broken record, or `skip` it and count.
        may_be_empty: whether no record at all is fine, as where other hosts have the others.
        threads: for decoding records one by one.

    Raises:
        DataError: no file, files of several kinds, or one that nothing here reads.
    """
    manifests = index.read(folder) if folder.is_dir() else []
    listed = [(manifest, *counted) for manifest in manifests for counted in manifest.files(folder)]
    files = [file for _, file, _ in listed] or list_files(folder)
    if not files and not may_be_empty:
        raise DataError(
            f"Channel {channel!r} is empty: no file in {folder}. Likely causes: the S3 prefix of the channel has no "
            f"objects or misses its last '/'; the channel has another name; the role may not read the bucket."
        )
    kind = manifests[0].kind if manifests else _kind(files, channel, content_type) if files else None
    if kind in rows.KINDS:
        manifests = []
    width, skip = rows.stated_width(content_type) if kind is Kind.LIBSVM else None, on_bad_record == "skip"
    variant = tables.variant(kind, files, skip=skip, width=width) if kind else ""
    opening = _Opening(channel, host, Maps(channel), threads, variant, skip, width)
    if kind and host.leads and not manifests:
        opening.derive_all(kind, files)
    # Whoever failed above never comes here: the others learn of it by its leaving, and not by a file that is missing.
    host.barrier()
    if manifests:
        # Where each host has its own objects, the index can list shards that another host has.
        there = (entry for entry in listed if not may_be_empty or entry[1].path.exists())
        shards: list[Shard] = [opening.prepared(file, records, manifest) for manifest, file, records in there]
    elif kind is Kind.IMAGE:
        shards = [ImageFolder(channel, files, threads)]
    else:
        shards = [opening.open(kind, file) for file in files if kind]
    filled = alike([shard for shard in shards if shard.records], channel)
    if not filled and not may_be_empty:
        raise DataError(
            f"Channel {channel!r}: no record in its files, such as {files[0].name if files else folder}. Expected one "
            f"sample a line or record: put data there, or another S3 prefix into the job."
        )
    dataset = Dataset(channel, filled, on_bad_record=on_bad_record)
    opening.report_skipped(files, dataset.bad)
    return dataset


def _kind(files: list[File], channel: str, content_type: str | None) -> Kind:
    """Recognise the kind that all files share."""
    kinds: dict[Kind, str] = {}
    # Files without content are of every kind; where all are, a name says what they were to be.
    for file in files:
        try:
            with file.path.open("rb") as handle:
                head = handle.read(HEAD_BYTES)
            if head.strip() or (file is files[-1] and not kinds):
                kinds.setdefault(sniff.recognise(head.strip() and head, file.name, content_type), file.name)
        except FormatError as error:
            raise DataError(f"Channel {channel!r}, file {file.name}: {error}") from error
        except OSError as error:
            raise gone(file.name, error) from error
    if len(kinds) > 1:
        found = ", ".join(f"{kind.value} ({name})" for kind, name in kinds.items())
        raise DataError(
            f"Channel {channel!r} holds files of several kinds: {found}. Expected one kind in a channel: put the "
            f"others elsewhere, or begin their names with a dot or an underscore."
        )
    kind, name = kinds.popitem()
    if kind in _LISTS:
        raise DataError(
            f"Channel {channel!r}, file {name}: it is a {kind.value}, which lists data in S3 and holds none. Expected "
            f"the data: let the channel's S3DataType be {_LISTS[kind]}, so that the platform brings what it lists."
        )
    return kind


@dataclass(frozen=True, slots=True)
class _Opening:
    """What every file of a channel is opened with."""

    channel: str
    host: Host
    maps: Maps
    threads: Executor | None
    variant: str
    """Names the way in which the channel's tables are read."""
    skip: bool
    """Whether broken lines of tables are left out."""
    width: int | None = None
    """Of LibSVM, where it is stated."""

    def derive_all(self, kind: Kind, files: Sequence[File]) -> None:
        """Write what is derived from files to the scratch folder, for all processes of the host."""
        missing = [file for file in files if file.size and not tables.derived(self._derived_path(file))]
        width = self.width
        for file in files if missing and kind is Kind.LIBSVM and self.width is None else []:
            found = partial(rows.libsvm_width, broken=(lambda _: None) if self.skip else None)
            width = max(width or 0, self._attempt(file, found))
        for file in missing:
            self._attempt(file, partial(self._derive, kind, width))

    def _derive(self, kind: Kind, width: int | None, file: File) -> None:
        target = self._derived_path(file)
        if kind in rows.KINDS or (kind is Kind.NPY and self._layout(kind, file) is None):
            tables.derive(kind, file, self.maps, target, width=width, skip=self.skip)
        elif kind in _RECORDS and self._layout(kind, file) is None:
            self.host.scratch.mkdir(parents=True, exist_ok=True)
            index.write_index(target.with_suffix(".npy"), _RECORDS[kind].index(self.maps.map(file)))

    def report_skipped(self, files: Sequence[File], bad: BadRecords) -> None:
        """Tell of the lines that were left out when tables were derived, now or by an earlier run."""
        for file in files if self.skip and self.host.leads else []:
            skipped = tables.skipped_of(self._derived_path(file))
            if skipped.count:
                bad.found(file.name, FormatError(skipped.first), count=skipped.count)

    def open(self, kind: Kind, file: File) -> Shard:
        """Open a file."""
        return self._attempt(file, partial(self._open, kind))

    def _open(self, kind: Kind, file: File) -> Shard:
        if kind is Kind.TAR and file.size:
            return TarShard(file, self.maps, self.threads)
        layout = self._layout(kind, file) if kind in _RECORDS else None
        if layout is not None and layout.records and not layout.stride:
            raise FormatError("its records have no bytes. Expected at least one value in each.")
        if layout is not None or not file.size:
            return LayoutShard(file, layout or _EMPTY, self.maps)
        if kind is Kind.NPY or kind in rows.KINDS:
            return self._table(kind, file)
        return self._indexed(kind, file, self._derived_path(file).with_suffix(".npy"))

    def prepared(self, file: File, records: int, manifest: index.Manifest) -> Shard:
        """Open a shard of a dataset that has its index beside it; the file itself is not touched yet."""
        if manifest.kind is Kind.TAR:
            return TarShard(file, self.maps, self.threads, records)
        if manifest.layout is not None:
            return LayoutShard(file, manifest.layout.layout(records), self.maps)
        return self._indexed(manifest.kind, file, index.index_path(file.path), records)

    def _indexed(self, kind: Kind, file: File, known: Path, records: int | None = None) -> Shard:
        reading = _RECORDS[kind]

        def find() -> Index:
            found = index.read_index(known, file.size)
            if found is None or (records is not None and len(found) != records):
                found = reading.index(self.maps.map(file))
            if records is not None and len(found) != records:
                raise FormatError(f"found {len(found)} records, {index.NAME} says {records}. Run `prepare` again.")
            return found

        return IndexedShard(file, self.maps, find, reading.decode, records=records)

    def _table(self, kind: Kind, file: File) -> Shard:
        derived = tables.derived(self._derived_path(file))
        if derived is None:
            return LayoutShard(file, _EMPTY, self.maps)
        content, first_line = File(file.name, derived, derived.stat().st_size), tables.FIRST_LINE.get(kind)
        if tables.skipped_of(derived).shifted:
            first_line = None
        if derived.suffix == ".npy":
            return LayoutShard(content, tables.read_layout(derived), self.maps, first_line=first_line)
        lines = tables.read_lines(self.maps.map(content))
        return IndexedShard(content, self.maps, lines.index, lines.decode, kinds=lines.kinds, first_line=first_line)

    def _layout(self, kind: Kind, file: File) -> Layout | None:
        """Layout of a file of one stride, by its first record and its size; the others are checked as they are read.

        A few records are looked at here. Most of them must fit, not all: a damaged record is to be found and named by
        whoever reads it, not to make a file of one stride look like one of any size.
        """
        if not file.size:
            return None
        buffer = self.maps.map(file)
        sizes = (size for size, smaller in zip(_HEADS, (0, *_HEADS), strict=False) if smaller < file.size)
        heads = (memoryview(buffer[:size]) for size in sizes)  # type: ignore[arg-type]
        found = next((found for head in heads if (found := _RECORDS[kind].layout(head, file.size)) is not None), None)
        if found is None or (not found.certain and not found.fits(buffer)):
            return None
        records = {found.records * part // _LOOKED_AT for part in range(_LOOKED_AT)}
        fitting = sum(_fits(found, buffer, record) for record in records)
        return found if fitting * 2 > len(records) or not found.records else None

    def _derived_path(self, file: File) -> Path:
        """Where what is derived from a file lies, but for its suffix."""
        return self.host.scratch / tables.cached_name(file, self.variant)

    def _attempt(self, file: File, action: Callable[[File], _Result]) -> _Result:
        """Do something with a file; what goes wrong names it."""
        try:
            return action(file)
        except FormatError as error:
            raise DataError(f"Channel {self.channel!r}, file {file.name}: {error}") from error


def _fits(layout: Layout, buffer: Buffer, record: int) -> bool:
    try:
        layout.verify(buffer, record, record + 1)
    except FormatError:
        return False
    return True
