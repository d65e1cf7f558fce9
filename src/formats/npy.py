"""NPY, the file format of one numpy array, without pickle.

Source: numpy's own description in `numpy.lib.format`. Versions 1.0 and 2.0; 3.0 differs only for structured types,
which are refused, as is every type but numbers and booleans. The header is text from a stranger: it is read by
`ast.literal_eval` with a bound on its length, and the size it claims is compared with the bytes that are there before
anything is allocated.
"""

import ast
import io
import math
import re
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from .layout import Field, Layout
from .rows import Labels, Rows, RowShape, first_not_finite, to_float32

MAGIC = b"\x93NUMPY"
MAX_HEADER = 10_000
"""Longest header accepted, in bytes; numpy's own bound."""
PREFIX = 12 + MAX_HEADER
"""Bytes from the start of a file that are always enough for `read_header`."""

PARSING = threading.Lock()
"""Held by whoever has the text of a header parsed: Python 3.11 counts the depth of its parser for all threads together,
and raises SystemError where another one comes between. Source: https://github.com/python/cpython/issues/106905."""

_TYPES = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248])")
_MAX_AXES = 64


@dataclass(frozen=True, slots=True)
class Header:
    """Where an array lies in its file and how to read it; enough for `numpy.memmap`."""

    dtype: np.dtype[Any]
    """Type of the values, with their byte order."""
    shape: tuple[int, ...]
    """Shape of the array."""
    fortran_order: bool
    """Whether the first axis is the fastest."""
    offset: int
    """Bytes before the values."""

    @property
    def size(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(data: bytes) -> Header:
    """Read the header of a file from its first bytes; the first `PREFIX` of them are enough.

    Raises:
        FormatError: not NPY, or an array that holds anything but numbers.
    """
    if data[:6] != MAGIC:
        raise FormatError(
            f"Found {data[:6]!r} at the start, expected an NPY file ({MAGIC!r}). Write it with numpy.save."
        )
    version = tuple(data[6:8])
    if version not in {(1, 0), (2, 0)}:
        raise FormatError(f"NPY version {'.'.join(map(str, version))}, expected 1.0 or 2.0. Write it with numpy.save.")
    start = 10 if version == (1, 0) else 12
    length = int.from_bytes(data[8:start], "little")
    if len(data) < start or length > MAX_HEADER or len(data) < start + length:
        raise FormatError(
            f"The NPY header claims {length} bytes, expected at most {MAX_HEADER}, and {max(0, len(data) - start)} are "
            f"there. The file is cut short or broken."
        )
    return _parse(data[start : start + length], start + length)


def load(file: IO[bytes]) -> Any:  # noqa: ANN401  numpy's own type of what it loads
    """Load one array of any type as `numpy.load` does, without pickle.

    Raises:
        OSError, ValueError, EOFError: as numpy's.
    """
    with PARSING:
        return np.load(file, allow_pickle=False)


def decode(data: bytes) -> NDArray[Any]:
    """Read one array of numbers, as it is; it shares memory with `data` and cannot be written.

    Raises:
        FormatError: broken, cut short, or an array that holds anything but numbers.
    """
    header = read_header(data[:PREFIX])
    _check_size(header, len(data) - header.offset)
    flat = np.frombuffer(data, dtype=header.dtype, offset=header.offset)
    return flat.reshape(header.shape, order="F" if header.fortran_order else "C")


def layout(head: memoryview, size: int) -> Layout | None:
    """Lay out an array as records: one for each index of its first axis, with one field, `data`.

    Args:
        head: first bytes of the file; `PREFIX` of them are enough.
        size: bytes of the file.

    Returns:
        None if the array has no axes, or the first one is the fastest (Fortran order): its rows do not lie together.

    Raises:
        FormatError: no array of numbers, or the file has not the size that its header says.
    """
    header = read_header(bytes(head[:PREFIX]))
    _check_size(header, size - header.offset)
    if not header.shape or (header.fortran_order and len(header.shape) > 1):
        return None
    row = header.shape[1:]
    stride = math.prod(row) * header.dtype.itemsize
    return Layout(header.offset, stride, header.shape[0], {"data": Field(header.dtype, row, 0)})


def decode_rows(data: bytes, row_shape: RowShape | None = None) -> Rows:
    """Read rows `[rows, *row_shape]` as float32.

    Raises:
        FormatError: as `decode`, or of another shape, or a value is not finite.
    """
    array = decode(data)
    if array.ndim == 0 or (row_shape is not None and array.shape[1:] != row_shape):
        raise FormatError(
            f"The array has shape {list(array.shape)}, expected "
            f"[rows{''.join(f', {size}' for size in row_shape or ('...',))}]. Even a single row needs the first axis."
        )
    rows = to_float32(array)
    where = first_not_finite(rows)
    if where is not None:
        raise FormatError(f"array{list(where)} is {array[where]}, expected a finite number that fits float32.")
    return rows


def encode(values: NDArray[Any], labels: Labels | None = None) -> bytes:  # noqa: ARG001  every encoder takes labels
    """Write one array; labels are left out."""
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()


def _check_size(header: Header, found: int) -> None:
    """Compare what the header says with the bytes that follow it."""
    if found != header.size:
        raise FormatError(
            f"The NPY header says shape {list(header.shape)} of {header.dtype}, {header.size} bytes, but {found} bytes "
            f"follow. The file is {'cut short' if found < header.size else 'followed by something else'}."
        )


@lru_cache(maxsize=64)
def _parse(text: bytes, offset: int) -> Header:
    """Read a header's text. Cached, since the requests of one client mostly have the very same one."""
    try:
        with PARSING:
            fields = ast.literal_eval(text.decode("latin-1").strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise FormatError("The NPY header is no Python dict. The file is broken: write it with numpy.save.") from error
    if not isinstance(fields, dict) or fields.keys() != {"descr", "fortran_order", "shape"}:
        raise FormatError("The NPY header lacks its three keys. The file is broken: write it with numpy.save.")
    descr, order, shape = fields["descr"], fields["fortran_order"], fields["shape"]
    if not isinstance(descr, str) or not _TYPES.fullmatch(descr):
        shown = str(descr)[:40]
        raise FormatError(
            f"The array holds {shown!r}, expected numbers. Convert it, e.g. with array.astype('float32')."
        )
    if type(order) is not bool or not _is_shape(shape):
        raise FormatError(
            "The NPY header's shape or order makes no sense. The file is broken: write it with numpy.save."
        )
    return Header(np.dtype(descr), shape, order, offset)


def _is_shape(shape: object) -> bool:
    """Whether numpy could hold it: the product of the axes, empty ones apart, must fit its index type."""
    if not isinstance(shape, tuple) or len(shape) > _MAX_AXES:
        return False
    if not all(type(size) is int and size >= 0 for size in shape):
        return False
    values: int = math.prod([size for size in shape if size])
    return values < 1 << 59
