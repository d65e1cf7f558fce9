"""TFRecord, the frame around each record, with checksums; the records are tf.train.Example (see `example`).

    u64 length | u32 masked CRC-32C of the length | data | u32 masked CRC-32C of the data

There is no magic number, no padding and no header of the file. Source: TensorFlow's `core/lib/io/record_writer.h`.
"""

import struct
from array import array

import numpy as np

from ..errors import FormatError
from . import example
from .layout import Buffer, Index, Layout, Sample, masked_crc, masked_crcs, of_first, wrong_sum

HEADER = 12
FOOTER = 4
FRAME = HEADER + FOOTER

_HEADER = struct.Struct("<QI")
_SUM = struct.Struct("<I")
# A run of records alike shorter than this is not worth a vector; so many hops are made before one is tried again.
_RUN, _HOPS, _WINDOW = 64, 4096, 1 << 16
_NONE = np.empty(0, dtype=np.int64)


def encode(sample: Sample) -> bytes:
    """Write one framed Example.

    Raises:
        FormatError: a value that the format cannot hold, by its name.
    """
    return frame(example.encode(sample))


def decode(record: memoryview) -> Sample:
    """Read one framed Example; its checksum is not looked at, see `index`.

    Raises:
        FormatError: names the byte, counted from the start of the record.
    """
    data = bytes(record)
    if len(data) < FRAME or len(data) != FRAME + _HEADER.unpack_from(data)[0]:
        raise FormatError(f"found {len(data)} bytes that are not one record with its frame, expected one.")
    return example.decode(data, HEADER, len(data) - FOOTER)


def frame(data: bytes) -> bytes:
    """Frame one record."""
    length = len(data).to_bytes(8, "little")
    return b"".join((length, _SUM.pack(masked_crc(length)), data, _SUM.pack(masked_crc(data))))


def index(buffer: Buffer, *, check: bool = False) -> Index:
    """Find all records by their headers, whose checksums are always checked; with `check` those of the data as well.

    Raises:
        FormatError: names record and byte of the first header that is broken, of a record that is cut short, or of a
            checksum that does not match.
    """
    found: list[Index] = []
    at = records = 0
    while at < len(buffer):
        some = _alike(buffer, at)
        if len(some) < _RUN:
            some = _hop(buffer, at)
        if not len(some):
            raise FormatError(_reason(buffer, at, records))
        found.append(some)
        records += len(some)
        at = int(some.stops[-1])
    every = Index(
        np.concatenate([_NONE, *(some.starts for some in found)]),
        np.concatenate([_NONE, *(some.stops for some in found)]),
    )
    if check:
        check_sums(buffer, every)
    return every


def check_sums(buffer: Buffer, records: Index, first: int = 0, last: int | None = None) -> None:
    """Check the data of records [first, last), two million short ones a second on one core.

    Raises:
        FormatError: names the first record whose checksum does not match.
    """
    view = buffer.data
    last = len(records) if last is None else last
    for begin in range(first, last, _HOPS):
        starts = records.starts[begin : min(begin + _HOPS, last)]
        places = records.stops[begin : min(begin + _HOPS, last)] - FOOTER
        bounds = list(zip((starts + HEADER).tolist(), places.tolist(), strict=True))
        stored = np.array([_SUM.unpack_from(view, place)[0] for _, place in bounds], dtype=np.uint32)
        computed = masked_crcs(bytes(view[start:place]) for start, place in bounds)
        wrong = np.flatnonzero(stored != computed)
        if len(wrong):
            bad = int(wrong[0])
            sums = int(stored[bad]), int(computed[bad])
            raise FormatError(wrong_sum(begin + bad, int(starts[bad]), int(places[bad]), *sums))


def layout(head: memoryview, size: int) -> Layout | None:
    """Find the layout of a shard of Examples by its first records.

    Integers are varints: while all of `head` are of one length, as labels under 128 are, the shard is laid out; but
    `Layout.certain` is false then, and `Layout.fits` tells whether that holds to the end.

    Args:
        head: the shard's first bytes, with at least one record.
        size: bytes of the shard.

    Returns:
        None if the records in `head` differ in more than their values: read such a shard, and a broken one, by its
        `index`.
    """
    if len(head) < FRAME:
        return None
    stride = FRAME + int(_HEADER.unpack_from(head)[0])
    if stride > len(head):
        return None
    data = bytes(head[:stride])
    if masked_crc(data[:8]) != _HEADER.unpack_from(data)[1]:
        return None
    try:
        fields = example.fields(data, HEADER, stride - FOOTER)
    except FormatError:  # `index` and `decode` will say where
        return None
    sums = ((stride - FOOTER, HEADER, stride - FOOTER),)
    return of_first(head, size, stride, fields, sums) if fields else None


def _sound(buffer: Buffer, at: int) -> int:
    """Byte after the record at `at`, or 0 if its header is broken or not all of it is there."""
    if at + FRAME > len(buffer):
        return 0
    length, stored = _HEADER.unpack_from(buffer.data, at)
    stop = at + FRAME + int(length)
    sound = stop <= len(buffer) and masked_crc(buffer[at : at + 8].tobytes()) == stored
    return stop if sound else 0


def _alike(buffer: Buffer, at: int) -> Index:
    """Find records of one size from `at` on, as many as follow one another."""
    stride = _sound(buffer, at) - at
    if stride <= 0:
        return Index(_NONE, _NONE)
    left = (len(buffer) - at) // stride
    lengths = np.ndarray((left,), "<u8", buffer, at, (stride,))
    sums = np.ndarray((left,), "<u4", buffer, at + 8, (stride,))
    records, window = 0, _RUN
    while records < left:
        piece = slice(records, records + window)
        differ = (lengths[piece] != lengths[0]) | (sums[piece] != sums[0])
        if differ.any():
            records += int(np.argmax(differ))
            break
        records, window = min(records + window, left), min(2 * window, _WINDOW)
    starts = at + stride * np.arange(records, dtype=np.int64)
    return Index(starts, starts + stride)


def _hop(buffer: Buffer, at: int) -> Index:
    """Find records from `at` on one by one."""
    starts, stops = array("q"), array("q")
    data, unpack, end = buffer.data, _HEADER.unpack_from, len(buffer)
    known: dict[int, int] = {}
    while len(starts) < _HOPS and at + FRAME <= end:
        length, stored = unpack(data, at)
        stop = at + FRAME + length
        if stop > end:
            break
        if known.get(length) != stored:
            if masked_crc(length.to_bytes(8, "little")) != stored:
                break
            known[length] = stored
        starts.append(at)
        stops.append(stop)
        at = stop
    return Index(np.array(starts, dtype=np.int64), np.array(stops, dtype=np.int64))


def _reason(buffer: Buffer, at: int, record: int) -> str:
    """Say what is wrong with the header at `at`."""
    where = f"record {record} at byte {at}"
    left = len(buffer) - at
    if left < HEADER:
        return f"{where}: found {left} bytes, expected a header of {HEADER}. The file is cut short: copy it again."
    length, stored = _HEADER.unpack_from(buffer.data, at)
    computed = masked_crc(buffer[at : at + 8].tobytes())
    if computed != stored:
        kind = buffer[at : at + 2].tobytes() == b"\x1f\x8b"
        cause = "The file is damaged here." if record else "It is no TFRecord: look at the channel's ContentType."
        if kind and not record:
            cause = "It is compressed by gzip as a whole: unpack it."
        return f"{where}: found checksum {stored:#010x} of the length, but it gives {computed:#010x}. {cause}"
    return (
        f"{where}: found {max(0, left - FRAME)} bytes, expected {length} as its header says. The file is cut short: "
        f"copy it again."
    )
