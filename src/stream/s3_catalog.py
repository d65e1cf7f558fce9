"""What lies below an address in S3, opened as a dataset: records of one stride by ranges, everything else by a copy.

Only the records that a batch needs are fetched where their place is known: from index.json beside the shards, or from
the head and the size of each object. Tables, archives, images and records of any size must be read whole to be indexed,
so they are copied to the scratch folder first.
"""

import hashlib
import shutil
from collections.abc import Mapping
from concurrent.futures import Executor
from pathlib import Path

from ..errors import DataError, FormatError, PlatformError
from ..formats import aialgs, npy, sniff, tfrecord
from ..formats.layout import Layout
from ..formats.sniff import Kind
from . import index
from .catalog import Host, open_dataset
from .dataset import Dataset
from .s3 import Bucket, Object
from .s3_client import parse_uri
from .s3_shards import HEAD_BYTES, S3LayoutShard
from .shards import Shard

_LAYOUTS = {Kind.NPY: npy.layout, Kind.RECORDIO_PROTOBUF: aialgs.layout, Kind.TFRECORD: tfrecord.layout}


def open_s3(
    uri: str,
    environ: Mapping[str, str],
    *,
    channel: str,
    host: Host,
    on_bad_record: str = "stop",
    threads: Executor | None = None,
) -> Dataset:
    """Open everything below an address, or what a manifest there names, as a dataset.

    Args:
        uri: `s3://bucket/prefix`, or `s3://bucket/key.manifest`.
        environ: endpoint, region and credentials as the AWS tools take them.
        channel: name, for messages.
        host: where copies go.
        on_bad_record: `stop` at a broken record, or `skip` it and count.
        threads: for decoding records one by one.

    Raises:
        DataError: nothing is there, or nothing that is read here.
        PlatformError: S3 cannot be reached, or the disk is too small for a copy.
    """
    name, prefix = parse_uri(uri)
    bucket = Bucket(name, environ)
    objects = bucket.manifest(prefix) if prefix.endswith(".manifest") else bucket.objects(prefix)
    if not objects:
        raise DataError(
            f"Channel {channel!r}: no object at {uri}. Likely causes: the prefix misses its last '/' or has another "
            f"spelling; the role may not list the bucket."
        )
    shards = _by_index(objects) or _by_head(objects, channel)
    if shards:
        return Dataset(channel, [shard for shard in shards if shard.records], on_bad_record=on_bad_record)
    folder = _copied(objects, prefix, host.scratch)
    return open_dataset(folder, channel=channel, host=host, on_bad_record=on_bad_record, threads=threads)


def _by_index(objects: list[Object]) -> list[Shard]:
    """Shards of a prepared dataset whose records have one size; none where there is no such index."""
    by_key = {item.key: item for item in objects}
    found = next((item for item in objects if item.key.rpartition("/")[2] == index.NAME), None)
    if found is None:
        return []
    manifest = index.parse(found.bucket.read(found, 0, found.size).tobytes(), found.name)
    if manifest.layout is None:
        return []
    folder = found.key.removesuffix(index.NAME)
    shards: list[Shard] = []
    for entry in manifest.shards:
        item = by_key.get(folder + entry.name)
        if item is None or item.size != entry.bytes:
            raise DataError(
                f"{found.name} lists {entry.name} with {entry.bytes} bytes, found "
                f"{item.size if item else 'no such object'}. Copy the output of `prepare` whole."
            )
        shards.append(S3LayoutShard(item, manifest.layout.layout(entry.records)))
    return shards


def _by_head(objects: list[Object], channel: str) -> list[Shard]:
    """Shards of one stride, by the head of each object; none as soon as one of them is not."""
    shards: list[Shard] = []
    for item in objects:
        if not item.size:
            continue
        head = item.bucket.read(item, 0, min(item.size, HEAD_BYTES))
        layout = _layout(item, head.tobytes(), channel)
        if layout is None:
            return []
        shards.append(S3LayoutShard(item, layout))
    return shards


def _layout(item: Object, head: bytes, channel: str) -> Layout | None:
    try:
        reader = _LAYOUTS.get(sniff.recognise(head, item.key, None))
        found = reader(memoryview(head), item.size) if reader else None
    except FormatError as error:
        raise DataError(f"Channel {channel!r}, file {item.name}: {error}") from error
    # Varints can grow behind the head, and only the whole object could tell.
    return found if found is not None and found.certain else None


def _copied(objects: list[Object], prefix: str, scratch: Path) -> Path:
    """Copy objects into a folder of this very list of them, where they are not there yet."""
    listed = "\n".join(f"{item.key} {item.size} {item.etag}" for item in objects)
    folder = scratch / f"s3-{hashlib.sha256(listed.encode()).hexdigest()[:24]}"
    folder.mkdir(parents=True, exist_ok=True)
    # Keys keep their folders below the prefix: those of images are their classes.
    targets = {folder / item.key.removeprefix(prefix[: prefix.rfind("/") + 1]): item for item in objects}
    missing = {target: item for target, item in targets.items() if not target.exists()}
    needed, free = sum(item.size for item in missing.values()), shutil.disk_usage(folder).free
    if needed > free:
        raise PlatformError(
            f"{len(missing)} objects of {needed:,} bytes are to be copied to {folder}, {free:,} are free. Prepare the "
            f"data as RecordIO or NPY, which are read from S3 without a copy, or choose a larger disk."
        )
    for target, item in missing.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        item.bucket.download(item, target)
    return folder
