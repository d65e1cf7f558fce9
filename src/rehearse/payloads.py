"""What a batch transform puts into one request: records cut out of an object, and as many of them as fit."""

from collections.abc import Iterator, Sequence

import numpy as np

from ..errors import DataError, FormatError
from ..formats import recordio, tfrecord

MEGABYTE = 1 << 20
TFRECORD_HEADER, TFRECORD_FOOTER = 12, 4


def records(body: bytes, split: str) -> list[bytes]:
    """Cut an object into records, with the framing or the newline that they came with; `None` leaves it whole.

    Raises:
        DataError: the framing is broken.
    """
    if split == "None":
        return [body]
    if split == "Line":
        return body.splitlines(keepends=True)
    try:
        buffer = np.frombuffer(body, dtype=np.uint8)
        index = recordio.index(buffer) if split == "RecordIO" else tfrecord.index(buffer)
    except FormatError as error:
        raise DataError(f"The object is no {split}: {error}") from error
    return [body[start:stop] for start, stop in zip(index.starts.tolist(), index.stops.tolist(), strict=True)]


def payloads(found: Sequence[bytes], split: str, *, single: bool, limit_mb: int) -> Iterator[tuple[bytes, int]]:
    """Bodies of requests, and the number of records in each.

    Args:
        found: records as `records` cuts them.
        split: the `SplitType`.
        single: one record a request; framing is taken off RecordIO then.
        limit_mb: largest body; 0 is unlimited.

    Raises:
        DataError: a record is larger than the limit.
    """
    limit = limit_mb * MEGABYTE or float("inf")
    for number, record in enumerate(found):
        if len(record) > limit:
            raise DataError(
                f"Record {number} has {len(record)} bytes, expected at most {limit_mb} MB. Raise MaxPayloadInMB."
            )
    if single or split == "None":
        yield from ((_bare(record, split), 1) for record in found)
        return
    batch: list[bytes] = []
    size = 0
    for record in found:
        if batch and size + len(record) > limit:
            yield b"".join(batch), len(batch)
            batch, size = [], 0
        batch.append(record)
        size += len(record)
    if batch:
        yield b"".join(batch), len(batch)


def _bare(record: bytes, split: str) -> bytes:
    if split == "RecordIO":
        return recordio.payload(memoryview(record))
    if split == "TFRecord":
        return record
    return record.rstrip(b"\r\n") if split == "Line" else record
