"""Protocol buffers on the wire: just what tensors need, without generated classes and without a copy of the values.

Source: https://protobuf.dev/programming-guides/encoding. A message is a row of fields, each a tag and a value; a
repeated number is packed into one field or, by old writers, has a field of its own for each value: both are read.
A reader for any message (google.protobuf) makes a Python object of every number; here numpy takes them as they lie.
"""

from array import array
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
"""Kinds of values."""

_MAX_VARINT = 10


class Part(NamedTuple):
    """One field of a message, by its place in the record."""

    number: int
    kind: int
    start: int
    stop: int


# A third of the time of calling Part, of which every record needs ten or more.
_new = tuple.__new__

Spans: TypeAlias = "array[int]"
"""Starts and stops, in turn: two numbers of 8 bytes for each piece, however many a hostile record has."""


def parts(data: bytes, start: int, stop: int) -> Iterator[Part]:
    """Walk over the fields of the message in [start, stop); a value that has a length is given without it.

    Raises:
        FormatError: names the byte, counted from the start of `data`.
    """
    at = start
    while at < stop:
        begin = at
        # Nearly all tags and lengths are of one byte, and a call for each would double the time of a small record.
        tag = data[at]
        at += 1
        if tag >= 0x80:
            tag, at = varint(data, begin, stop)
        number, kind = tag >> 3, tag & 7
        if kind == LENGTH:
            if at < stop and data[at] < 0x80:
                size = data[at]
                at += 1
            else:
                size, at = varint(data, at, stop)
        elif kind == VARINT:
            size = varint(data, at, stop)[1] - at
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise FormatError(_broken(begin, f"found a field of kind {kind}, expected 0, 1, 2 or 5"))
        if not number:
            raise FormatError(_broken(begin, "found a field of number 0, expected 1 or more"))
        if size > stop - at:
            raise FormatError(_broken(begin, f"found a field of {size} bytes, expected at most {stop - at}"))
        yield _new(Part, (number, kind, at, at + size))
        at += size


def varint(data: bytes, at: int, stop: int) -> tuple[int, int]:
    """Read one unsigned number: its value and the byte after it."""
    if at < stop and data[at] < 0x80:
        return data[at], at + 1
    if at + 1 < stop and data[at + 1] < 0x80:
        return data[at] & 0x7F | data[at + 1] << 7, at + 2
    value = shift = 0
    for place in range(at, min(at + _MAX_VARINT, stop)):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, place + 1
        shift += 7
    found = "a number that the message cuts off" if stop - at < _MAX_VARINT else "a number that does not end"
    raise FormatError(_broken(at, f"found {found}, expected one of at most {_MAX_VARINT} bytes"))


def only(part: Part, kind: int, name: str) -> Part:
    """Check that a field is of the kind that its number promises."""
    if part.kind != kind:
        raise FormatError(_broken(part.start, f"found {name} as a field of kind {part.kind}, expected {kind}"))
    return part


def add(spans: Spans, part: Part) -> None:
    """Note one more piece of a repeated field."""
    spans.append(part.start)
    spans.append(part.stop)


def join(data: bytes, spans: Spans) -> bytes:
    """Bytes of all pieces, one after another."""
    if len(spans) == 2:
        return data[spans[0] : spans[1]]
    joined = bytearray()
    for place in range(0, len(spans), 2):
        joined += data[spans[place] : spans[place + 1]]
    return bytes(joined)


def pieces(data: bytes, spans: Spans) -> bytes | NDArray[Any]:
    """Values of a list of bytes: one as it is, none or more as an array of objects."""
    if len(spans) == 2:
        return data[spans[0] : spans[1]]
    many = np.empty(len(spans) // 2, dtype=object)
    for place in range(len(many)):
        many[place] = data[spans[2 * place] : spans[2 * place + 1]]
    return many


def numbers(data: bytes, dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """Read packed numbers of fixed size, as an array of its own."""
    if len(data) % dtype.itemsize:
        raise FormatError(f"found {len(data)} bytes of {name!r}, expected whole values of {dtype.itemsize}. {_CAUSE}")
    return np.frombuffer(data, dtype=dtype).astype(dtype.newbyteorder("="))


def text(data: bytes, part: Part) -> str:
    """Read text."""
    try:
        return data[part.start : part.stop].decode()
    except UnicodeDecodeError as error:
        found = data[part.start : part.stop][:16]
        raise FormatError(_broken(part.start, f"found {found!r}, expected text in UTF-8")) from error


def varints(data: bytes) -> NDArray[np.int64]:
    """Read packed varints as signed numbers of 64 bits.

    Raises:
        FormatError: a number is cut off or longer than 10 bytes.
    """
    packed = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero(packed < 0x80)
    if len(ends) == len(packed):
        return packed.astype(np.int64)
    starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
    sizes = ends - starts + 1
    longest = int(sizes.max(initial=0))
    if not len(ends) or ends[-1] != len(packed) - 1 or longest > _MAX_VARINT:
        raise FormatError(f"found packed numbers that do not end, expected at most {_MAX_VARINT} bytes each. {_CAUSE}")
    values = np.zeros(len(ends), dtype=np.uint64)
    for place in range(longest):
        has = sizes > place
        values[has] |= (packed[starts[has] + place] & 0x7F).astype(np.uint64) << np.uint64(7 * place)
    return values.astype(np.int64)


def field(number: int, data: bytes) -> bytes:
    """Write a field that has a length: text, bytes, a message or packed numbers."""
    return pack([number << 3 | LENGTH, len(data)]) + data


def pack(values: Iterable[int]) -> bytes:
    """Write varints one after another; negative ones in two's complement of 64 bits."""
    packed = bytearray()
    for value in values:
        rest = value & 0xFFFFFFFFFFFFFFFF
        while rest >= 0x80:
            packed.append(rest & 0x7F | 0x80)
            rest >>= 7
        packed.append(rest)
    return bytes(packed)


def pack_array(values: NDArray[Any]) -> bytes:
    """Write integers as varints one after another."""
    rest = values.astype(np.int64).view(np.uint64)
    if not (rest >> np.uint64(7)).any():
        return rest.astype(np.uint8).tobytes()
    shifts = np.arange(_MAX_VARINT, dtype=np.uint64) * np.uint64(7)
    groups = rest[:, None] >> shifts
    has = groups != 0
    has[:, 0] = True
    more = np.zeros_like(has)
    more[:, :-1] = has[:, 1:]
    packed: NDArray[np.uint8] = (groups & np.uint64(0x7F)).astype(np.uint8) | np.where(
        more, np.uint8(0x80), np.uint8(0)
    )
    return bytes(packed[has].data)


_CAUSE = "The record is damaged, or is not of the type that its channel's ContentType says."


def _broken(at: int, what: str) -> str:
    return f"{what}, at byte {at} of the record. {_CAUSE}"
