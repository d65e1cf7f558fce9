"""Records in a stream of bytes whose end is not in sight: where each ends, and how many at once are decoded.

frame, payload                RecordIO (SageMaker's protobuf in it, or any bytes), TFRecord
lines                         CSV, JSON Lines
objects                       with the wrapper RecordIO the platform sends each S3 object as one record
"""

import struct
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import orjson

from ..errors import FormatError
from ..formats import recordio, tfrecord
from ..formats.layout import Layout, Sample, Value, masked_crc
from .rows import without_empty
from .shards import Columns, collate

MAX_RECORD = 1 << 30
"""Longest record, in bytes: a damaged length must not make us read on and on."""

_RECORDIO = struct.Struct("<II")
_WHOLE, _LAST = 0, 3
_AROUND_HEADER = 4
"""Bytes of a byte order mark and a carriage return."""


class Framing(Protocol):
    """How records stand in a stream, and what they hold."""

    def stops(self, data: bytearray, start: int) -> "array[int]":
        """Byte after each whole record from `start` on; raises FormatError where no record can begin."""

    def tail(self, data: bytes) -> bytes:
        """Complete what is left after the last whole record at the end of a stream: empty if it is no record."""

    def decode(self, data: bytes, stops: Sequence[int], first_record: int, first_byte: int) -> Columns:
        """Decode whole records; messages count from those of the stream."""


@dataclass(frozen=True, slots=True)
class Framed:
    """Records that begin with their length."""

    stops_of: Callable[[bytearray, int], "array[int]"]
    decode_record: Callable[[memoryview], Sample]
    layout_of: Callable[[memoryview, int], Layout | None] | None = None
    check: Callable[[memoryview, int, int], None] | None = None

    def stops(self, data: bytearray, start: int) -> "array[int]":
        """Hop from header to header."""
        return self.stops_of(data, start)

    def tail(self, data: bytes) -> bytes:
        """Refuse a record that is cut off."""
        raise FormatError(
            f"the stream ends after {len(data)} bytes of it, expected a whole record. The last object is cut short, or "
            f"holds something else: look at the channel's prefix."
        )

    def decode(self, data: bytes, stops: Sequence[int], first_record: int, first_byte: int) -> Columns:
        """Gather records of one stride at once, others one by one."""
        layout = self.layout_of(memoryview(data), len(data)) if self.layout_of else None
        if layout is not None and layout.records == len(stops) and _sound(layout, data):
            return dict(layout.gather(np.frombuffer(data, dtype=np.uint8), np.arange(len(stops))))
        view, start, samples = memoryview(data), 0, []
        for number, stop in enumerate(stops, start=first_record):
            try:
                if self.check:
                    self.check(view[start:stop], number, first_byte + start)
                samples.append(self.decode_record(view[start:stop]))
            except FormatError as error:
                place = "" if str(error).startswith("record ") else f"record {number} at byte {first_byte + start}: "
                raise FormatError(f"{place}{error}") from error
            start = stop
        return collate(samples, f"records from {first_record} on")


@dataclass(frozen=True, slots=True)
class Lines:
    """One record a line; empty lines are none, nor is the header with which each object may begin."""

    decode_lines: Callable[[bytes, int], Columns]
    header: bytes = b""
    """Without the end of its line."""

    def stops(self, data: bytearray, start: int) -> "array[int]":
        """Look for line feeds; a line that is no record is part of the one after it."""
        found = array("q")
        before, at = start, data.find(b"\n", start)
        while at >= 0:
            # Short lines are looked at, long ones are no blanks.
            if (at - before > 2 or data[before:at].strip()) and not self._is_header(data, before, at):
                found.append(at + 1)
            before = at + 1
            at = data.find(b"\n", before)
        if len(data) - (found[-1] if found else start) > MAX_RECORD:
            raise FormatError(f"found no end of the line in {MAX_RECORD} bytes. Look at the channel's ContentType.")
        return found

    def tail(self, data: bytes) -> bytes:
        """Take a last line without its end."""
        return data + b"\n" if records(data + b"\n", self.header) else b""

    def decode(self, data: bytes, stops: Sequence[int], first_record: int, first_byte: int) -> Columns:
        """Decode all lines at once."""
        if data.count(b"\n") > len(stops):
            data = records(data, self.header)
        try:
            columns = self.decode_lines(data, first_record + 1 + bool(self.header))
        except FormatError as error:
            raise FormatError(f"{error} (in the lines from byte {first_byte} of the stream on)") from error
        return columns

    def _is_header(self, data: bytearray, start: int, stop: int) -> bool:
        size = len(self.header)
        return 0 < size <= stop - start <= size + _AROUND_HEADER and bare(data[start:stop]) == self.header


@dataclass(frozen=True, slots=True)
class Attributes:
    """Objects and values of an augmented manifest: as many RecordIO records a sample as there are attributes."""

    names: tuple[str, ...]
    decode_object: Callable[[bytes], Value]

    def stops(self, data: bytearray, start: int) -> "array[int]":
        """Take every k-th record's end."""
        return recordio_stops(data, start)[len(self.names) - 1 :: len(self.names)]

    def tail(self, data: bytes) -> bytes:
        """Refuse a sample that is cut off."""
        raise FormatError(
            f"the stream ends after {len(data)} bytes of it, expected one record for each of {', '.join(self.names)}. "
            f"Give the attributes as the channel's AttributeNames has them."
        )

    def decode(self, data: bytes, stops: Sequence[int], first_record: int, first_byte: int) -> Columns:
        """Decode samples one by one."""
        view, start, samples = memoryview(data), 0, []
        for number, stop in enumerate(stops, start=first_record):
            try:
                samples.append(self._sample(view[start:stop]))
            except FormatError as error:
                raise FormatError(f"record {number} at byte {first_byte + start}: {error}") from error
            start = stop
        return collate(samples, f"records from {first_record} on")

    def _sample(self, data: memoryview) -> Sample:
        found = recordio.index(np.frombuffer(data, dtype=np.uint8))
        spans = zip(found.starts.tolist(), found.stops.tolist(), strict=True)
        payloads = [recordio.payload(data[start:stop]) for start, stop in spans]
        pairs = zip(self.names, payloads, strict=True)
        return {
            name: self.decode_object(payload) if name.endswith("-ref") else _plain(payload) for name, payload in pairs
        }


def recordio_stops(data: bytearray, start: int) -> "array[int]":
    """Byte after each whole record of RecordIO."""
    found = array("q")
    at, end, size = start, len(data), recordio.HEADER
    while at + size <= end:
        magic, word = _RECORDIO.unpack_from(data, at)
        if magic != recordio.MAGIC and found:
            # The records before it are sound: the next call says what is wrong, by the number of this record.
            break
        if magic != recordio.MAGIC:
            raise FormatError(
                f"found {data[at : at + 4].hex(' ')}, expected RecordIO's magic number. The stream is damaged or is no "
                f"RecordIO: look at the channel's ContentType and RecordWrapperType."
            )
        at += size + ((word & recordio.MAX_LENGTH) + 3 & ~3)
        if at > end:
            break
        if word >> 29 in (_WHOLE, _LAST):
            found.append(at)
            start = at
    if end - start > MAX_RECORD:
        raise FormatError(f"found a record of more than {MAX_RECORD} bytes, expected shorter ones.")
    return found


def tfrecord_stops(data: bytearray, start: int) -> "array[int]":
    """Byte after each whole TFRecord; checksums of lengths are checked."""
    found = array("q")
    at, end = start, len(data)
    while at + tfrecord.HEADER <= end:
        length, stored = struct.unpack_from("<QI", data, at)
        computed = masked_crc(bytes(data[at : at + 8]))
        if (stored != computed or length > MAX_RECORD) and found:
            break
        if stored != computed or length > MAX_RECORD:
            raise FormatError(
                f"found checksum {stored:#010x} of the length {length}, which gives {computed:#010x}. The stream is "
                f"damaged or is no TFRecord: look at the channel's ContentType."
            )
        at += tfrecord.FRAME + length
        if at > end:
            break
        found.append(at)
    return found


def records(lines: bytes, header: bytes) -> bytes:
    """Leave out lines that are no record: those that are empty, or a header where there is one."""
    filled = without_empty(lines)
    if not header:
        return filled
    return b"".join(line for line in filled.splitlines(keepends=True) if bare(line) != header)


def bare(line: bytes | bytearray) -> bytes | bytearray:
    """Return a header without what may stand around it."""
    return line.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n")


def _sound(layout: Layout, data: bytes) -> bool:
    try:
        layout.verify(np.frombuffer(data, dtype=np.uint8), 0, layout.records, checksums=True)
    except FormatError:
        return False
    return True


def _plain(data: bytes) -> Value:
    """A value of an augmented manifest: a number, or text as it is."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        value = None
    if isinstance(value, (int, float)):
        return np.asarray(value)
    return data.decode("utf-8", "replace")
