"""Objects of an S3 bucket: listed, and read by ranges of bytes, many at a time."""

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import obstore
from numpy.typing import NDArray

from ..errors import ConfigError, DataError, PlatformError
from .plan import Positions
from .s3_client import CONNECTIONS, RETRY_SECONDS, SCHEME, named, open_store, parse_uri

Bytes = NDArray[np.uint8]

PIECE_BYTES = 8 << 20
"""Bytes above which a range is better cut into several, fetched side by side."""

_DOWNLOADED = 4
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Object:
    """An object as it was when it was listed."""

    bucket: "Bucket" = field(repr=False)
    key: str
    size: int
    """Bytes."""
    etag: str
    """Changes with every write."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{SCHEME}{self.bucket.name}/{self.key}"


class Bucket:
    """A bucket and its connections; safe for several threads."""

    def __init__(self, name: str, environ: Mapping[str, str], *, retry_seconds: float = RETRY_SECONDS) -> None:
        """Connect to nothing yet.

        Args:
            name: the bucket.
            environ: endpoint, region and credentials as the AWS tools take them.
            retry_seconds: bound on the time of one request with its repetitions.

        Raises:
            ConfigError: no credentials are found.
        """
        self.name = name
        self._store = open_store(name, environ, retry_seconds)
        self._calls = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="twofold-s3")

    def objects(self, prefix: str) -> list[Object]:
        """List the objects whose keys begin with a prefix, in the order of their keys, as an `S3Prefix` channel does.

        Empty objects whose key ends with a slash are folders of the console, and what starts with a dot or an
        underscore is not data.
        """
        # obstore takes whole folders only: list the folder, from just before the prefix to just after it.
        folder, slash, start = prefix.rpartition("/")
        found: list[Object] = []
        with named(self._uri(prefix)):
            if start:
                found += self._exact(prefix)
            offset = prefix if start else None
            for page in obstore.list(self._store, folder + slash or None, offset=offset, chunk_size=_PAGE):
                inside = [meta for meta in page if meta["path"].startswith(prefix)]
                found += [self._object(meta) for meta in inside if _is_data(meta["path"][len(folder + slash) :])]
                if start and len(inside) < len(page):
                    break
        return sorted({item.key: item for item in found}.values(), key=lambda item: item.key)

    def manifest(self, key: str) -> list[Object]:
        """List the objects that a manifest file names: a JSON list of one `{"prefix": uri}` and keys below it.

        Raises:
            DataError: the manifest is not of this form, or one of its objects does not exist.
        """
        [item] = self.head([key])
        content = self.read(item, 0, item.size).tobytes()
        try:
            first, *rest = json.loads(content)
            bucket, prefix = parse_uri(first["prefix"])
            keys = [prefix + name for name in rest]
        except (ValueError, TypeError, KeyError, ConfigError) as error:
            raise DataError(
                f"{item.name} is no manifest: it begins with {content[:60]!r}. Expected a JSON list such as "
                f'[{{"prefix": "s3://bucket/folder/"}}, "a.csv", "b.csv"].'
            ) from error
        if bucket != self.name:
            raise DataError(
                f"{item.name} lists objects of bucket {bucket!r}. Expected objects of the bucket that it lies in: copy "
                f"the manifest there."
            )
        return self.head(keys)

    def head(self, keys: Iterable[str]) -> list[Object]:
        """Look objects up by their keys.

        Raises:
            DataError: one does not exist, or may not be read.
        """
        return list(self._calls.map(self._head, keys))

    def read(self, item: Object, start: int, stop: int) -> Bytes:
        """Read bytes [start, stop) of an object."""
        return next(self.request(item, np.array([start]), np.array([stop]))())

    def request(self, item: Object, starts: Positions, stops: Positions) -> "Pending":
        """Begin to read ranges of an object.

        Args:
            item: the object.
            starts: first byte of each range `[n]`.
            stops: byte after each range `[n]`.

        Returns:
            What waits for the bytes of each range. It raises DataError when the object is gone, has changed or may not
            be read, and PlatformError when S3 cannot be reached.
        """
        ranges = zip(starts.tolist(), stops.tolist(), strict=True)
        return Pending([self._calls.submit(self._fetch, item, start, stop) for start, stop in ranges])

    def download(self, item: Object, target: Path) -> None:
        """Copy an object into a file, which appears only when it is whole; memory stays bounded."""
        partial = target.with_name(target.name + ".partial")
        try:
            with partial.open("wb") as out:
                for waiting in self._ahead(item):
                    out.writelines(part.data for part in waiting())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def _ahead(self, item: Object) -> Iterator["Pending"]:
        """Requests for all bytes of an object in turn; the next one has begun before one is waited for."""
        starts = np.arange(0, item.size, PIECE_BYTES)
        stops = np.minimum(starts + PIECE_BYTES, item.size)
        waiting: list[Pending] = []
        for first in range(0, len(starts), _DOWNLOADED):
            span = slice(first, first + _DOWNLOADED)
            waiting.append(self.request(item, starts[span], stops[span]))
            if len(waiting) > 1:
                yield waiting.pop(0)
        yield from waiting

    def _fetch(self, item: Object, start: int, stop: int) -> Bytes:
        """Read bytes [start, stop) under the condition that the object is still the one listed."""
        with named(item.name):
            answer = obstore.get(self._store, item.key, options={"range": (start, stop), "if_match": item.etag})
            found: Any = answer.bytes()
        if len(found) != stop - start:
            raise PlatformError(
                f"{item.name}: S3 sent {len(found)} bytes for the range {start} to {stop}, expected {stop - start}."
            )
        return np.frombuffer(found, dtype=np.uint8)

    def _head(self, key: str) -> Object:
        with named(self._uri(key)):
            return self._object(obstore.head(self._store, key))

    def _exact(self, key: str) -> list[Object]:
        try:
            return [self._object(obstore.head(self._store, key))]
        except FileNotFoundError:
            return []

    def _uri(self, key: str) -> str:
        return f"{SCHEME}{self.name}/{key}"

    def _object(self, meta: Any) -> Object:  # noqa: ANN401  obstore's types cannot be imported
        return Object(self, meta["path"], meta["size"], meta["e_tag"] or "")


class Pending:
    """Ranges that are on their way."""

    def __init__(self, calls: list[Future[Bytes]]) -> None:
        self._calls = deque(calls)

    def __call__(self) -> Iterator[Bytes]:
        """Wait for the ranges, and yield the bytes of each."""
        try:
            while self._calls:
                # What has been yielded is not held: memory goes back as ranges are used.
                yield self._calls.popleft().result()
        finally:
            self._drop()

    def _drop(self) -> None:
        for call in self._calls:
            call.cancel()

    # Whoever leaves an epoch does not wait for what was asked for ahead.
    __del__ = _drop


def _is_data(name: str) -> bool:
    return not name.endswith("/") and not any(part.startswith((".", "_")) for part in name.split("/"))
