"""NPZ, numpy's zip of NPY files: each array a field, its first axis the rows. No pickle, as in `npy`.

Arrays that are stored as they are (`numpy.savez`) are views of the buffer, so that a memory map stays one; compressed
ones (`numpy.savez_compressed`) are unpacked as a whole, up to a bound. Source: numpy's description in
`numpy.lib.npyio`, and PKWARE's APPNOTE.TXT for the zip around it.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from . import npy
from .rows import Columns

MAGIC = b"PK\x03\x04"
MAX_UNPACKED = 1 << 30
"""Most bytes that compressed arrays may have in all."""

_LOCAL = struct.Struct("<4s22xHH")
_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    EOFError,
    LookupError,
)


class _View(io.RawIOBase):
    """A buffer as a file, without a copy of it."""

    def __init__(self, view: memoryview) -> None:
        super().__init__()
        self._view = view
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(self._view)}[whence]
        if base + offset < 0:
            raise OSError("before the start")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, target: Any) -> int:  # noqa: ANN401  as io has it
        part = self._view[self._position : self._position + len(target)]
        target[: len(part)] = part
        self._position += len(part)
        return len(part)


def decode(buffer: NDArray[np.uint8], *, checksums: bool = False) -> dict[str, NDArray[Any]]:
    """Read all arrays of a file, as many rows in each.

    Args:
        buffer: the whole file, e.g. a memory map; arrays may share its memory.
        checksums: whether to check also the arrays that are not compressed, which reads all of them.

    Raises:
        FormatError: no zip of NPY files, broken, too large, or arrays of several lengths; names the array.
    """
    view = buffer.data
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(io.BufferedReader(_View(view))) as archive:
            entries = archive.infolist()
            _check(entries)
            for entry in entries:
                name = entry.filename.removesuffix(".npy")
                arrays[name] = _array(archive, entry, view, checksums=checksums)
    except FormatError:
        raise
    except _FAULTS as error:
        raise FormatError(
            f"No readable NPZ: {str(error) or type(error).__name__}. It is cut short or broken."
        ) from error
    _check_rows(arrays)
    return arrays


def blocks(buffer: NDArray[np.uint8], rows: int = 1 << 14) -> Iterator[Columns]:
    """Read a file in blocks of `rows`, the last one shorter; raises as `decode`."""
    arrays = decode(buffer)
    for first in range(0, len(next(iter(arrays.values()))), rows):
        yield {name: array[first : first + rows] for name, array in arrays.items()}


def encode(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Write arrays without compression; the same arrays give the same bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), npy.encode(array))
    return file.getvalue()


def _check(entries: list[zipfile.ZipInfo]) -> None:
    names = [entry.filename for entry in entries]
    other = next((name for name in names if not name.endswith(".npy")), None)
    if other is not None or not names:
        raise FormatError(
            f"The zip holds {other[:80] if other else 'nothing'!r}, expected NPY files only. Write it with numpy.savez."
        )
    if not {entry.compress_type for entry in entries} <= {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise FormatError("The zip is compressed in a way that numpy never does. Write it anew with numpy.savez.")
    if len(set(names)) < len(names):
        raise FormatError("The zip holds two arrays of one name. Write it anew with numpy.savez.")
    unpacked = sum(entry.file_size for entry in entries if entry.compress_type != zipfile.ZIP_STORED)
    if unpacked > MAX_UNPACKED:
        raise FormatError(
            f"The compressed arrays claim {unpacked} bytes, expected at most {MAX_UNPACKED}. Write them with "
            f"numpy.savez, which does not compress, or into more files."
        )


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, view: memoryview, *, checksums: bool) -> NDArray[Any]:
    stored = entry.compress_type == zipfile.ZIP_STORED and not entry.flag_bits & 1
    content: bytes | memoryview = _stored(entry, view) if stored else archive.read(entry)
    if stored and checksums and zlib.crc32(content) != entry.CRC:
        raise FormatError(f"array {entry.filename!r}: its checksum does not fit. The file is broken: write it anew.")
    try:
        header = npy.read_header(bytes(content[: npy.PREFIX]))
    except FormatError as error:
        raise FormatError(f"array {entry.filename!r}: {error}") from error
    if len(content) != header.offset + header.size:
        raise FormatError(
            f"array {entry.filename!r}: {len(content)} bytes, expected {header.offset + header.size} for its shape "
            f"{list(header.shape)} of {header.dtype}. The file is broken: write it anew."
        )
    flat = np.frombuffer(content, header.dtype, offset=header.offset)
    return flat.reshape(header.shape, order="F" if header.fortran_order else "C")


def _stored(entry: zipfile.ZipInfo, view: memoryview) -> memoryview:
    """Content of an entry that is not compressed: behind a second header, whose length only it knows."""
    head = bytes(view[entry.header_offset : entry.header_offset + _LOCAL.size])
    magic, name, extra = _LOCAL.unpack(head) if len(head) == _LOCAL.size else (b"", 0, 0)
    start = entry.header_offset + _LOCAL.size + name + extra
    if magic != MAGIC or start + entry.file_size > len(view) or entry.file_size != entry.compress_size:
        raise FormatError(f"array {entry.filename!r}: it does not lie where the zip says. The file is cut or broken.")
    return view[start : start + entry.file_size]


def _check_rows(arrays: Mapping[str, NDArray[Any]]) -> None:
    lengths = {name: len(array) if array.ndim else None for name, array in arrays.items()}
    if None in lengths.values() or len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
        raise FormatError(f"Found arrays {found[:200]}, expected the same number of rows in each, on the first axis.")
