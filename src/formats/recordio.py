"""RecordIO, the frame around each record: a magic number, a length, the bytes, and zeros up to a multiple of four.

    u32 magic | u32 flag (3 bits), length (29 bits) | data | padding

Where the data itself has the magic number at a multiple of four, the writer ends the part there, leaves these four
bytes out and flags the parts as first, middle and last: so a reader can find its way in a damaged file, and so a magic
number at a multiple of four is nearly always a header. "Nearly", since SageMaker's own helper writes data as it is.
Source: `include/dmlc/recordio.h` and `src/recordio.cc` of dmlc-core.
"""

import struct
from array import array
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from .layout import Buffer, Index, Sample

MAGIC = 0xCED7230A
HEADER = 8
MAX_LENGTH = (1 << 29) - 1
"""Longest part, in bytes."""

_MAGIC_BYTES = MAGIC.to_bytes(4, "little")
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_HEADER = struct.Struct("<II")
# A run of headers alike shorter than this is not worth a vector; so many bytes are searched for magic numbers at
# once; records above this size are found faster by hopping; so many hops are made before a vector is tried again.
_RUN, _SEARCHED, _SMALL, _HOPS = 64, 1 << 22, 2048, 4096
_NONE = np.empty(0, dtype=np.int64)

Number = TypeVar("Number", int, NDArray[np.int64])


@dataclass(frozen=True, slots=True)
class Headers:
    """Parts that follow one another."""

    starts: NDArray[np.int64]
    """First byte of each."""
    words: NDArray[np.int64]
    """Flag and length of each."""

    @property
    def end(self) -> int:
        """Byte after the last of them."""
        return int(self.starts[-1]) + _size(int(self.words[-1]) & MAX_LENGTH)

    @property
    def records(self) -> int:
        """Records that end among them."""
        flags = self.words >> 29
        return int(np.count_nonzero((flags == _WHOLE) | (flags == _LAST)))


def encode(sample: Sample) -> bytes:
    """Write one record from `{"data": bytes}`."""
    data = sample["data"]
    if not isinstance(data, bytes):
        raise FormatError(f"data is {type(data).__name__}, expected bytes.")
    return frame(data)


def decode(record: memoryview) -> Sample:
    """Read one framed record as `{"data": bytes}`."""
    return {"data": payload(record)}


def frame(data: bytes) -> bytes:
    """Frame one record.

    Raises:
        FormatError: 512 MiB or more.
    """
    if len(data) > MAX_LENGTH:
        raise FormatError(
            f"The record has {len(data)} bytes, expected at most {MAX_LENGTH}. Split it, or use another format."
        )
    cuts = [-4, *_magic_places(data), len(data)]
    last = len(cuts) - 2
    framed = bytearray()
    for number, (before, stop) in enumerate(pairwise(cuts)):
        part = data[before + 4 : stop]
        flag = _WHOLE if not last else _FIRST if not number else _LAST if number == last else _MIDDLE
        framed += _HEADER.pack(MAGIC, flag << 29 | len(part)) + part + bytes(-len(part) % 4)
    return bytes(framed)


def payload(record: memoryview) -> bytes:
    """Take the data out of one framed record of one part or many.

    Raises:
        FormatError: names the byte, counted from the start of the record.
    """
    stop, end = whole(record)
    if end == len(record) > 0:
        return bytes(record[HEADER:stop])
    every = _headers(np.frombuffer(record, dtype=np.uint8))
    if every.records != 1:
        raise FormatError(f"found {every.records} records in {len(record)} bytes, expected one.")
    bounds = zip(every.starts + HEADER, every.starts + HEADER + (every.words & MAX_LENGTH), strict=True)
    return _MAGIC_BYTES.join([bytes(record[start:stop]) for start, stop in bounds])


def whole(data: memoryview) -> tuple[int, int]:
    """Where the record at the start of `data` ends, without and with its padding; zeros if it is cut or in parts."""
    word = _word(np.frombuffer(data, dtype=np.uint8), 0)
    return (HEADER + word, _size(word)) if word is not None and word <= MAX_LENGTH else (0, 0)


def index(buffer: Buffer) -> Index:
    """Find all records by their headers; the parts of one record are one entry.

    Raises:
        FormatError: names record and byte of the first header that is broken, or of a record that is cut short.
    """
    every = _headers(buffer)
    flags = every.words >> 29
    stops = every.starts + _size(every.words & MAX_LENGTH)
    return Index(every.starts[flags <= _FIRST], stops[(flags == _WHOLE) | (flags == _LAST)])


def _magic_places(data: bytes) -> list[int]:
    """Multiples of four where the data has the magic number."""
    places, at = [], data.find(_MAGIC_BYTES)
    while at >= 0:
        if at % 4 == 0:
            places.append(at)
        at = data.find(_MAGIC_BYTES, at + (4 if at % 4 == 0 else 1))
    return places


def _headers(buffer: Buffer) -> Headers:
    """Find every part; all headers are checked, and that every part is there to its end."""
    found: list[Headers] = []
    at = records = 0
    while at < len(buffer):
        word = _word(buffer, at)
        if word is None:
            raise FormatError(_reason(buffer, at, records))
        some = _alike(buffer, at, word)
        if len(some.starts) < _RUN and word & MAX_LENGTH <= _SMALL:
            some = _search(buffer, at)
        if len(some.starts) < _RUN:
            some = _hop(buffer, at)
        found.append(some)
        records += some.records
        at = some.end
    every = Headers(
        np.concatenate([_NONE, *(some.starts for some in found)]),
        np.concatenate([_NONE, *(some.words for some in found)]),
    )
    _check_flags(every)
    return every


def _word(buffer: Buffer, at: int) -> int | None:
    """Flag and length of the part at `at`, or None if there is none or not all of it."""
    if at + HEADER > len(buffer):
        return None
    magic, word = _HEADER.unpack_from(buffer.data, at)
    whole = magic == MAGIC and at + _size(word & MAX_LENGTH) <= len(buffer)
    return int(word) if whole else None


def _alike(buffer: Buffer, at: int, word: int) -> Headers:
    """Find parts of one size from `at` on, as many as follow one another."""
    stride = _size(word & MAX_LENGTH)
    left = (len(buffer) - at) // stride
    column = np.ndarray((left,), "<u8", buffer, at, (stride,))
    expected, parts, window = np.uint64(word << 32 | MAGIC), 0, _RUN
    while parts < left:
        differ = column[parts : parts + window] != expected
        if differ.any():
            parts += int(np.argmax(differ))
            break
        parts, window = min(parts + window, left), min(2 * window, _SEARCHED)
    return Headers(at + stride * np.arange(parts, dtype=np.int64), np.full(parts, word, dtype=np.int64))


def _search(buffer: Buffer, at: int) -> Headers:
    """Find parts of any size from `at` on by their magic numbers, as far as each leads to the next."""
    words = np.ndarray((min(_SEARCHED, len(buffer) - at) // 4,), "<u4", buffer, at)
    places = np.flatnonzero(words[:-1] == MAGIC)
    headers = words[places + 1].astype(np.int64)
    starts = at + 4 * places
    stops = starts + _size(headers & MAX_LENGTH)
    astray = stops[:-1] != starts[1:]
    last = int(np.argmax(astray)) if astray.any() else len(starts) - 1
    parts = last + 1 if stops[last] <= len(buffer) else last
    return Headers(starts[:parts], headers[:parts])


def _hop(buffer: Buffer, at: int) -> Headers:
    """Find parts from `at` on one by one."""
    starts, words = array("q"), array("q")
    data = buffer.data
    unpack, size, end = _HEADER.unpack_from, _HEADER.size, len(data)
    while len(starts) < _HOPS and at + size <= end:
        magic, word = unpack(data, at)
        stop = at + size + ((word & MAX_LENGTH) + 3 & ~3)
        if magic != MAGIC or stop > end:
            break
        starts.append(at)
        words.append(word)
        at = stop
    return Headers(np.array(starts, dtype=np.int64), np.array(words, dtype=np.int64))


def _check_flags(every: Headers) -> None:
    """Check that parts come as first, middle, last."""
    flags = every.words >> 29
    inside = np.concatenate(([False], (flags == _FIRST) | (flags == _MIDDLE)))
    wrong = inside[:-1] != (flags >= _MIDDLE)
    if wrong.any():
        part = int(np.argmax(wrong))
        record = int(np.count_nonzero((flags[:part] == _WHOLE) | (flags[:part] == _LAST)))
        expected = "2 or 3, since a record is open" if inside[part] else "0 or 1, since no record is open"
        raise FormatError(
            f"record {record} at byte {every.starts[part]}: found a part with flag {flags[part]}, expected {expected}. "
            f"The file is damaged, or two files were joined in the middle of a record."
        )
    if inside[-1]:
        raise FormatError(
            f"record {every.records} ends at byte {every.end} after a part with flag {flags[-1]}, expected its last "
            f"part. The file is cut short: copy it again."
        )


def _reason(buffer: Buffer, at: int, record: int) -> str:
    """Say what is wrong with the header at `at`."""
    where = f"record {record} at byte {at}"
    left = len(buffer) - at
    found = buffer[at : at + 4].tobytes()
    if left >= 4 and found != _MAGIC_BYTES:
        cause = "The file is damaged here." if record else "It is no RecordIO: look at the channel's ContentType."
        return f"{where}: found {found.hex(' ')}, expected RecordIO's magic number {_MAGIC_BYTES.hex(' ')}. {cause}"
    if left < HEADER:
        return f"{where}: found {left} bytes, expected a header of {HEADER}. The file is cut short: copy it again."
    length = _HEADER.unpack_from(buffer.data, at)[1] & MAX_LENGTH
    return (
        f"{where}: found {left - HEADER} bytes, expected {_size(length) - HEADER} as its header says. The file is cut "
        f"short, or the length is damaged: copy it again."
    )


def _size(length: Number) -> Number:
    """Bytes of a part with its header and padding."""
    return HEADER + (length + 3 & ~3)
