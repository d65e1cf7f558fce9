"""Where the records of a shard lie: of one stride, so that a batch is one gather, or of any size, one by one."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError

Value: TypeAlias = NDArray[Any] | str | bytes
Sample: TypeAlias = dict[str, Value]
"""One decoded record."""

Buffer: TypeAlias = NDArray[np.uint8]
"""The bytes of a whole shard, flat; mostly a memory map."""

# Records checked at a time: their header lines stay in the cache while one word after another is compared.
_WINDOW = 1 << 12
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record of fixed size."""

    dtype: np.dtype[Any]
    """Type of the values; where `varint` is 0, as the record has them, byte order included."""
    shape: tuple[int, ...]
    """Shape in one record, `()` for a scalar."""
    offset: int
    """Bytes from the start of the record."""
    varint: int = 0
    """Bytes of each value where the record holds protobuf varints; 0 where it holds the values as they are."""
    raw: bool = False
    """Whether `decode` gives `bytes` for it: a batch has them as uint8 because all are of one length."""

    @property
    def values(self) -> int:
        """Values in one record."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """Bytes in one record."""
        return self.values * (self.varint or self.dtype.itemsize)


@dataclass(frozen=True, slots=True)
class Layout:
    """Records of one stride: the shard is a strided view, a batch is one gather."""

    offset: int
    """Bytes before the first record."""
    stride: int
    """Bytes of each record, framing included."""
    records: int
    """Number of records."""
    fields: Mapping[str, Field]
    """Payload, by the names that a batch has."""
    fixed: tuple[tuple[int, bytes], ...] = ()
    """Structure, the same in every record: offset from its start, and the bytes there."""
    checksums: tuple[tuple[int, int, int], ...] = ()
    """Masked CRC-32C in every record: its offset, then start and stop of what it covers."""
    _plans: Mapping[str, tuple[Field, np.dtype[Any], np.dtype[Any]]] = field(init=False, repr=False, compare=False)
    """Of each field: itself, how its bytes are moved, and what they are then. Worked out once: batches are small.

    Small fields come first: they bring a page of each record near, for many records at once.
    """

    def __post_init__(self) -> None:
        by_size = sorted(self.fields.items(), key=lambda named: named[1].size)
        object.__setattr__(self, "_plans", {name: (place, *_plan(place)) for name, place in by_size})

    @property
    def certain(self) -> bool:
        """Whether sound records cannot be of another layout but by chance.

        Varints grow with their value: a good file may begin with small ones only. Ask `fits` once for all records,
        and read the shard by its index where the answer is no.
        """
        return not any(field.varint for field in self.fields.values())

    def gather(self, buffer: Buffer, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Copy the payload of records out of the shard, once.

        Args:
            buffer: the whole shard.
            rows: record numbers `[n]`, in any order, within [0, records).

        Returns:
            Arrays `[n, *shape]`, one a field: contiguous, aligned, writable, of native byte order.
        """
        columns = {name: self._column(buffer, rows, *plan) for name, plan in self._plans.items()}
        return {name: columns[name] for name in self.fields}

    def gather_at(self, memory: Buffer, starts: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Copy the payload of records that begin at any bytes `[n]` of a piece of memory; as `gather`."""
        columns = {}
        for name, (place, item, final) in self._plans.items():
            if item.itemsize:
                columns[name] = self._finish(_items_at(memory, starts + place.offset, item), place, final)
            else:
                columns[name] = np.empty((len(starts), *place.shape), dtype=place.dtype.newbyteorder("="))
        return {name: columns[name] for name in self.fields}

    def verify(self, buffer: Buffer, first: int, last: int, *, checksums: bool = False) -> None:
        """Check the structure of records [first, last) and, when asked, their checksums.

        Raises:
            FormatError: names the first record that differs, its byte, what is there and what was expected.
        """
        for start, stop in _windows(first, last):
            bad = self._misfits(buffer, start, stop)
            if bad.any():
                raise FormatError(self._difference(buffer, start + int(np.argmax(bad))))
            if checksums:
                self._check_sums(buffer, start, stop)

    def fits(self, buffer: Buffer, records: int | None = None) -> bool:
        """Tell whether all records, or the first ones, have this structure; reads a few bytes of each."""
        windows = _windows(0, self.records if records is None else records)
        return not any(self._misfits(buffer, start, stop).any() for start, stop in windows)

    def _column(
        self, buffer: Buffer, rows: NDArray[np.int64], field: Field, item: np.dtype[Any], final: np.dtype[Any]
    ) -> NDArray[Any]:
        if not item.itemsize:
            return np.empty((len(rows), *field.shape), dtype=field.dtype.newbyteorder("="))
        view = self._view(buffer, item, field.offset, 0, self.records)
        # `take` is the faster way, but would first copy a whole shard whose items are apart or not aligned.
        column = view.take(rows) if view.flags.c_contiguous and view.flags.aligned else view[rows]
        return self._finish(column, field, final)

    def _finish(self, column: NDArray[Any], field: Field, final: np.dtype[Any]) -> NDArray[Any]:
        if field.varint:
            parts = column.view(np.uint8).reshape(-1, field.varint)
            return _join_varints(parts, final.base).reshape(len(column), *field.shape)
        column = column.view(final)
        return column if field.dtype.isnative else column.astype(column.dtype.newbyteorder("="))

    def _view(self, buffer: Buffer, item: np.dtype[Any], offset: int, first: int, last: int) -> NDArray[Any]:
        """One item of each record [first, last), not copied."""
        start = self.offset + first * self.stride + offset
        return np.ndarray((last - first,), item, buffer, start, (self.stride,))

    def _bytes(self, buffer: Buffer, field: Field, first: int, last: int) -> NDArray[np.uint8]:
        """Bytes of varints `[records, values, bytes]`, not copied."""
        start = self.offset + first * self.stride + field.offset
        shape = (last - first, field.values, field.varint)
        return np.ndarray(shape, np.uint8, buffer, start, (self.stride, field.varint, 1))

    def _misfits(self, buffer: Buffer, first: int, last: int) -> NDArray[np.bool_]:
        """Which of the records [first, last) have another structure."""
        bad = np.zeros(last - first, dtype=np.bool_)
        # Whether all are right takes a tenth of the time that it takes to find out which are not.
        for offset, word in () if self._uniform(buffer, first, last) else _words(self.fixed):
            item = np.dtype(f"<u{len(word)}")
            bad |= self._view(buffer, item, offset, first, last) != np.frombuffer(word, dtype=item)[0]
        for place in self.fields.values():
            if place.varint and place.values:
                ends = self._bytes(buffer, place, first, last) < 0x80
                bad |= (ends != (np.arange(place.varint) == place.varint - 1)).any(axis=(1, 2))
        return bad

    def _uniform(self, buffer: Buffer, first: int, last: int) -> bool:
        """Whether the fixed bytes of all records [first, last) are as expected."""
        return all(
            self._view(buffer, np.dtype((np.void, len(data))), offset, first, last).tobytes() == data * (last - first)
            for offset, data in self.fixed
        )

    def _difference(self, buffer: Buffer, record: int) -> str:
        start = self.offset + record * self.stride
        cause = f"The record is damaged, or not of the same shape and size ({self.stride} bytes) as the first one."
        for offset, expected in self.fixed:
            found = buffer[start + offset : start + offset + len(expected)].tobytes()
            if found != expected:
                at = next(index for index, byte in enumerate(expected) if found[index] != byte)
                piece = slice(at, at + _SHOWN)
                return (
                    f"record {record} at byte {start}: found {found[piece].hex(' ')} at byte {start + offset + at}, "
                    f"expected {expected[piece].hex(' ')}. {cause}"
                )
        name = next(name for name, field in self.fields.items() if field.varint)
        return (
            f"record {record} at byte {start}: a value of {name!r} is not {self.fields[name].varint} bytes long, as "
            f"all of the first record are. {cause}"
        )

    def _check_sums(self, buffer: Buffer, first: int, last: int) -> None:
        base = self.offset + first * self.stride
        data = buffer[base : base + (last - first) * self.stride].tobytes()
        origins = range(0, len(data), self.stride)
        for at, start, stop in self.checksums:
            stored = self._view(buffer, np.dtype("<u4"), at, first, last)
            computed = masked_crcs(data[origin + start : origin + stop] for origin in origins)
            wrong = np.flatnonzero(stored != computed)
            if len(wrong):
                bad = int(wrong[0])
                begin = base + bad * self.stride
                raise FormatError(wrong_sum(first + bad, begin, begin + at, int(stored[bad]), int(computed[bad])))


@dataclass(frozen=True, slots=True)
class Index:
    """Records of any size, by their place in the shard."""

    starts: NDArray[np.int64]
    """First byte of each record `[n]`, framing included."""
    stops: NDArray[np.int64]
    """Byte after each record `[n]`."""

    def __len__(self) -> int:
        return len(self.starts)


def of_first(
    head: memoryview,
    size: int,
    stride: int,
    fields: Mapping[str, Field],
    checksums: tuple[tuple[int, int, int], ...] = (),
) -> Layout | None:
    """Lay a shard of `size` bytes out by its first record, or None if the records in `head` are not alike."""
    records = size // stride
    if size % stride or not records:
        return None
    first = bytes(head[:stride])
    holes = [(field.offset, field.offset + field.size) for field in fields.values()]
    holes += [(place, place + 4) for place, _, _ in checksums]
    fixed: list[tuple[int, bytes]] = []
    at = 0
    for start, stop in [*sorted(holes), (stride, stride)]:
        if at < start:
            fixed.append((at, first[at:start]))
        at = stop
    found = Layout(0, stride, records, fields, tuple(fixed), checksums)
    return found if found.fits(np.frombuffer(head, dtype=np.uint8), len(head) // stride) else None


def varint_size(data: bytes, values: int) -> int:
    """Bytes of each of these packed varints, or 0 if they differ."""
    size = len(data) // values if values else 0
    ends = np.frombuffer(data, dtype=np.uint8) < 0x80
    if not size or size * values != len(data):
        return 0
    return size if (ends.reshape(values, size) == (np.arange(size) == size - 1)).all() else 0


def masked_crc(data: bytes) -> int:
    """CRC-32C as TFRecord stores it: turned and shifted, so that data that holds sums has a sum unlike them."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def masked_crcs(pieces: Iterable[bytes]) -> NDArray[np.uint32]:
    """Masked CRC-32C of each piece."""
    crcs = np.fromiter(map(google_crc32c.value, pieces), dtype=np.uint32)
    masked: NDArray[np.uint32] = (crcs >> np.uint32(15) | crcs << np.uint32(17)) + np.uint32(0xA282EAD8)
    return masked


def wrong_sum(record: int, start: int, place: int, stored: int, computed: int) -> str:
    """Say that a checksum does not match."""
    return (
        f"record {record} at byte {start}: found checksum {stored:#010x} at byte {place}, but the bytes it covers give "
        f"{computed:#010x}. The record was damaged after it was written: copy the file again."
    )


def _windows(first: int, last: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + _WINDOW, last)) for start in range(first, last, _WINDOW))


def _words(fixed: tuple[tuple[int, bytes], ...]) -> Iterator[tuple[int, bytes]]:
    """Cut structure into words of 8, 4, 2 and 1 bytes."""
    for offset, data in fixed:
        at = 0
        while at < len(data):
            size = min(8, 1 << (len(data) - at).bit_length() - 1)
            yield offset + at, data[at : at + size]
            at += size


def _items_at(memory: Buffer, firsts: NDArray[np.int64], item: np.dtype[Any]) -> NDArray[Any]:
    """Copy the items that begin at these bytes `[n]`."""
    # An item at every byte, or at every byte that suits its type, which numpy copies in half the time: those that
    # overlap are never taken.
    step = item.alignment
    if step > 1 and (memory.ctypes.data | int(np.bitwise_or.reduce(firsts))) % step:
        step = 1
    items = np.ndarray(((len(memory) - item.itemsize) // step + 1,), item, memory, 0, (step,))
    return items[firsts if step == 1 else firsts // step]


def _plan(field: Field) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """How the bytes of a field are moved, and what they are then."""
    if field.varint:
        return np.dtype((np.void, field.size)) if field.size > 1 else np.dtype(np.uint8), field.dtype
    # One opaque item a record: numpy then moves it by one memory copy, faster than value by value.
    item = np.dtype((np.void, field.size)) if field.shape and field.size > 1 else field.dtype
    return item if field.size else np.dtype("V0"), np.dtype((field.dtype, field.shape))


def _join_varints(parts: NDArray[np.uint8], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Turn varints `[n, bytes]` into values `[n]`; negative ones are two's complement of 64 bits."""
    if parts.shape[1] == 1:
        return parts.astype(dtype)
    values = (parts[:, 0] & 0x7F).astype(np.uint64)
    for place in range(1, parts.shape[1]):
        values |= (parts[:, place] & 0x7F).astype(np.uint64) << np.uint64(7 * place)
    return values.astype(np.int64).astype(dtype)
