"""Tar files: where their members lie, and members as bytes.

Reads ustar, GNU (long names, sizes in binary) and pax (paths and sizes). One pass hops from header to header by sizes
only; checksums and names are then read many headers at once. Archives laid end to end, which is what a pipe makes of
several objects, are read on past each other's end marks.

Sources: POSIX.1-2017 `pax`, section "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError

Buffer: TypeAlias = NDArray[np.uint8]

BLOCK = 512
DATA = frozenset(b"0\07")
"""Type flags of ordinary files: today's, that of the first tar, and one for contiguous files."""
END = bytes(2 * BLOCK)
"""What closes an archive."""
MAX_EXTRA = 1 << 20
"""Longest pax header or long name, in bytes."""

_CHUNK = 1 << 13
_SIZE = slice(124, 136)
_CHECKSUM = slice(148, 156)
_TYPE = 156
_WITHOUT_CONTENT = frozenset(b"123456")
_EXTRA = frozenset(b"xgLK")
_LARGEST = (1 << 62) - 1


class Member(NamedTuple):
    """One entry of an archive."""

    name: bytes
    """Path, in whatever encoding it was written; UTF-8 nearly always."""
    kind: int
    """Type flag: one of `DATA`, or of something that is no file."""
    header: int
    """Byte where its header starts."""
    start: int
    """Byte where its content starts."""
    size: int
    """Bytes of its content."""


@dataclass(slots=True)
class _Found:
    """Headers of one chunk, in the order of the file."""

    positions: list[int]
    sizes: list[int]
    heads: list[bytes]
    names: dict[int, bytes]
    """Names that a header before the member gave, by place in `positions`."""


def members(buffer: Buffer) -> Iterator[list[Member]]:
    """Go through an archive, some thousand members at a time.

    Args:
        buffer: the whole archive, e.g. a memory map.

    Raises:
        FormatError: cut short, a broken header, a sparse member; names the member or the byte.
    """
    view = buffer.data
    for found in _hop(view):
        yield _checked(found, len(view))


def encode_member(name: str, data: bytes | memoryview) -> bytes:
    """Write one member, padded to whole blocks; the same content gives the same bytes: no time, no owner."""
    path = name.encode()
    if len(path) <= 100 and len(data) < 8 << 30:
        return _header(path, len(data), b"0") + _padded(data)
    records = _pax_record(b"path", path) + _pax_record(b"size", str(len(data)).encode())
    extra = _header(b"pax_header", len(records), b"x") + _padded(records)
    return extra + _header(path[:100], min(len(data), (8 << 30) - 1), b"0") + _padded(data)


def is_header(block: bytes) -> bool:
    """Whether a block is the header of a member: its checksum says so."""
    if len(block) < BLOCK or not block[0]:
        return False
    try:
        _check([block], [0])
    except FormatError:
        return False
    return True


def _hop(view: memoryview) -> Iterator[_Found]:
    """Go from header to header, by sizes alone, and yield them chunk by chunk."""
    position, end, closed = 0, len(view), False
    found = _Found([], [], [], {})
    name: bytes | None = None
    size: int | None = None
    while position + BLOCK <= end:
        head = bytes(view[position : position + BLOCK])
        if not head[0] and not any(head):
            position, closed = _after_zeros(view, position), True
            continue
        closed, kind, length = False, head[_TYPE], _size(head, position)
        if kind in _EXTRA:
            given = _extra(view, head, position, length)
            name, size = given.get("path", name), given.get("size", size)
        else:
            length = 0 if kind in _WITHOUT_CONTENT else length if size is None else size
            if name is not None:
                found.names[len(found.heads)] = name
            name = size = None
        found.positions.append(position)
        found.sizes.append(length)
        found.heads.append(head)
        position += BLOCK + (length + BLOCK - 1) // BLOCK * BLOCK
        if len(found.heads) == _CHUNK:
            yield found
            found = _Found([], [], [], {})
    if found.heads:
        yield found
    if not closed or position != end:
        raise FormatError(_cut(position, end))


def _after_zeros(view: memoryview, position: int) -> int:
    """First block after a run of zeros; looks further ahead the longer the run is."""
    step = 8 * BLOCK
    while position < len(view):
        filled = np.frombuffer(view[position : position + step], np.uint8) != 0
        if filled.any():
            return position + int(filled.argmax()) // BLOCK * BLOCK
        position += len(filled)
        step = min(2 * step, 1 << 20)
    return position


def _size(head: bytes, position: int) -> int:
    field = head[_SIZE]
    if field[0] & 0x80:
        size = int.from_bytes(field, "big") & ((1 << 95) - 1)
    else:
        digits = field.rstrip(b" \0").lstrip(b" ")
        if digits.strip(b"01234567"):
            _refuse(head, position, f"the size of a member is {digits!r}, expected octal digits.")
        size = int(digits or b"0", 8)
    if size > _LARGEST:
        _refuse(head, position, f"a member claims {size} bytes. The archive is broken.")
    return size


def _extra(view: memoryview, head: bytes, position: int, length: int) -> dict[str, Any]:
    """What a header says about the member after it: `path` as bytes and `size`."""
    kind, start = head[_TYPE], position + BLOCK
    if length > MAX_EXTRA:
        _refuse(head, position, f"an extended header claims {length} bytes, expected at most {MAX_EXTRA}.")
    if start + length > len(view):
        _refuse(head, position, f"the archive ends within an extended header of {length} bytes. It is cut short.")
    if kind == ord("L"):
        return {"path": bytes(view[start : start + length]).rstrip(b"\0")}
    if kind != ord("x"):
        return {}
    body = bytes(view[start : start + length])
    if b"GNU.sparse" in body:
        _refuse(head, position, "a sparse member. Pack it without --sparse.")
    if b" path=" not in body and b" size=" not in body:
        return {}
    given = _pax(body)
    return _refuse(head, position, "a broken pax header, expected 'LENGTH KEY=VALUE'.") if given is None else given


def _pax(body: bytes) -> dict[str, Any] | None:
    """Read records `LENGTH KEY=VALUE`, where the length counts itself and the line's end; None: broken."""
    given: dict[str, Any] = {}
    position = 0
    while position < len(body) and body[position]:
        digits, space, _ = body[position : position + 8].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        key, equals, value = body[position + len(digits) + 1 : position + length].partition(b"=")
        if not (space and equals and value.endswith(b"\n")) or position + length > len(body):
            return None
        if key == b"path":
            given["path"] = value[:-1]
        elif key == b"size":
            if not value[:-1].isdigit() or len(value) > 19:
                return None
            given["size"] = int(value)
        position += length
    return given


def _refuse(head: bytes, position: int, reason: str) -> NoReturn:
    """Say what is wrong with a header, unless the cause lies deeper: it is no header."""
    _check([head], [position])
    raise FormatError(f"byte {position}: {reason}")


def _checked(found: _Found, end: int) -> list[Member]:
    """Check a chunk of headers at once and name its members."""
    heads = _check(found.heads, found.positions)
    names = _names(heads, found.names)
    kinds = heads[:, _TYPE].tolist()
    result = [
        Member(name, kind, position, position + BLOCK, size)
        for name, kind, position, size in zip(names, kinds, found.positions, found.sizes, strict=True)
        if kind not in _EXTRA
    ]
    for member in result:
        if member.start + member.size > end:
            raise FormatError(
                f"member {shown(member.name)} at byte {member.header} claims {member.size} bytes, but "
                f"{end - member.start} follow. The archive is cut short: upload it again."
            )
    return result


def _names(heads: Buffer, given: Mapping[int, bytes]) -> list[bytes]:
    """Names of members, prefixes of ustar included."""
    names: list[bytes] = np.ascontiguousarray(heads[:, :100]).view("S100")[:, 0].tolist()
    prefixed = (heads[:, 257:263] == np.frombuffer(b"ustar\0", np.uint8)).all(axis=1) & (heads[:, 345] != 0)
    for place in np.flatnonzero(prefixed).tolist():
        prefix = bytes(heads[place, 345:500]).partition(b"\0")[0]
        names[place] = prefix + b"/" + names[place].partition(b"\0")[0]
    for place, name in given.items():
        names[place] = name
    return [name.partition(b"\0")[0] if b"\0" in name else name for name in names]


def _check(heads: list[bytes], positions: list[int]) -> Buffer:
    """Compare each header's bytes with the sum that it holds, its own field counted as blanks; headers `[n, 512]`."""
    table = np.frombuffer(b"".join(heads), np.uint8).reshape(-1, BLOCK)
    sums = table.sum(axis=1, dtype=np.int64) - table[:, _CHECKSUM].sum(axis=1, dtype=np.int64) + 8 * 32
    fields = np.ascontiguousarray(table[:, _CHECKSUM]).view("S8")[:, 0].tolist()
    for place, (expected, field) in enumerate(zip(sums.tolist(), fields, strict=True)):
        digits = field.partition(b"\0")[0].strip(b" ")
        if not digits or digits.strip(b"01234567") or int(digits, 8) != expected:
            raise FormatError(
                f"byte {positions[place]}: found {heads[place][:16]!r} with checksum {digits!r}, expected a tar header "
                f"with {expected:o}. The archive is broken here, or the size of the member before is wrong."
            )
    return table


def _header(path: bytes, size: int, kind: bytes) -> bytes:
    head = b"".join(
        [
            path.ljust(100, b"\0"),
            b"0000644\0" + b"0000000\0" * 2,
            b"%011o\0" % size,
            b"%011o\0" % 0,
            b" " * 8,
            kind,
            bytes(100),
            b"ustar\00000",
        ]
    ).ljust(BLOCK, b"\0")
    return head[:148] + b"%06o\0 " % sum(head) + head[156:]


def _pax_record(key: bytes, value: bytes) -> bytes:
    """`LENGTH KEY=VALUE`, where the length counts its own digits."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + len(str(len(rest)))
    length = len(rest) + len(str(length))
    return str(length).encode() + rest


def _padded(data: bytes | memoryview) -> bytes:
    return bytes(data) + bytes(-len(data) % BLOCK)


def _cut(position: int, end: int) -> str:
    if not end:
        return "The archive is empty, expected at least its end mark. The upload failed, or its writer was not closed."
    return (
        f"byte {min(position, end)}: the archive of {end} bytes ends without its mark of zeros. It is cut short, or "
        f"its writer was not closed: write or upload it again."
    )


def shown(name: bytes) -> str:
    """A member's name for a message, quoted and not too long."""
    text = name.decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= 80 else text[:77] + "...")
