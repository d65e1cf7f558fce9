"""Channels of a job: which objects a host gets, and how it finds them."""

import gzip
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ApiError, DataError
from ..formats import recordio
from .aws import Client
from .fifo import Feeder
from .objects import Location, fetch, inside, keys, locate, read
from .store import Document

PIECE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An object of a channel."""

    place: Location
    """Where it lies."""
    name: str
    """Path in the channel's folder."""


def sources(s3: Client, data: Document) -> list[Source]:
    """Objects that an `S3DataSource` names, in S3's order.

    Raises:
        ApiError: a type of source that is not rehearsed.
        DataError: there are none, or a manifest is broken.
    """
    place, kind = locate(data["S3Uri"]), data.get("S3DataType", "S3Prefix")
    if kind == "ManifestFile":
        found = _manifest(s3, place)
    elif kind == "S3Prefix":
        # What follows the last slash of the prefix is kept, with its folders.
        root = place.key.rpartition("/")[0]
        cut = f"{root}/" if root else ""
        found = [Source(place=Location(place.bucket, key), name=key.removeprefix(cut)) for key in keys(s3, place)]
    else:
        raise ApiError(f"S3DataType {kind!r} is not rehearsed; S3Prefix and ManifestFile are.", code="NotRehearsed")
    if not found:
        raise DataError(
            f"No S3 objects found under {data['S3Uri']}. Expected at least one: put it there, or correct the URI."
        )
    return found


def share(found: Sequence[Source], data: Document, host: int, hosts: int) -> list[Source]:
    """Those that one of the hosts gets: all, or every nth of them."""
    kind = data.get("S3DataDistributionType", "FullyReplicated")
    return list(found[host::hosts] if kind == "ShardedByS3Key" else found)


def copy(s3: Client, found: Sequence[Source], folder: Path) -> None:
    """Copy objects into a folder, which is there even for none."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in found:
        fetch(s3, source.place, inside(folder, source.name))


class Pipe:
    """Feeds the FIFOs of one host, each with one pass over the objects."""

    def __init__(self, s3: Client, found: Sequence[Source], channel: Document, first: Path) -> None:
        self._s3, self._found, self._channel = s3, list(found), channel
        self._feeder = Feeder(first, self._pieces)

    def close(self) -> None:
        """Stop feeding; the reader has ended by now."""
        self._feeder.close()

    def _pieces(self, epoch: int) -> Iterator[bytes]:
        found = self._found
        if (shuffle := self._channel.get("ShuffleConfig")) is not None:
            found = random.Random(shuffle["Seed"] + epoch).sample(found, len(found))  # noqa: S311 - an order, no secret
        for source in found:
            body = read(self._s3, source.place)
            if self._channel.get("CompressionType") == "Gzip":
                body = gzip.decompress(body)
            if self._channel.get("RecordWrapperType") == "RecordIO":
                body = recordio.frame(body)
            yield from (body[first : first + PIECE] for first in range(0, len(body), PIECE))


def _manifest(s3: Client, place: Location) -> list[Source]:
    try:
        head, *rest = json.loads(read(s3, place))
        prefix = head["prefix"]
        names = ["".join(name) for name in rest]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f'The manifest {place} is broken ({error}). Expected [{{"prefix": "s3://bucket/base/"}}, "key", ...].'
        ) from error
    base = locate(prefix)
    return [Source(place=Location(base.bucket, base.key + name), name=name) for name in names]
