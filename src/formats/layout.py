"""Where the records of a shard lie: of one stride, so that a batch is one gather, or of any size, one by one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError

Value: TypeAlias = NDArray[Any] | str | bytes
Sample: TypeAlias = dict[str, Value]
"""One decoded record."""

_WINDOW = 1 << 12
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record of fixed size."""

    dtype: np.dtype[Any]
    """Type of the values as a batch has them; where `varint` is 0 also as the record has them, byte order included."""
    shape: tuple[int, ...]
    """Shape in one record, `()` for a scalar."""
    offset: int
    """Bytes from the start of the record."""
    varint: int = 0
    """Bytes of every value, when the record holds them as protobuf varints; 0: it holds them as they are."""


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
    checksums: tuple[tuple[int, int, int], ...] = field(default=())
    """Masked CRC-32C of a record: its offset, and start and stop of what it covers."""

    def gather(self, buffer: NDArray[np.uint8], rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Copy the payload of records out of the shard.

        Args:
            buffer: the whole shard.
            rows: record numbers `[n]`, in any order; the caller keeps them within [0, records).

        Returns:
            Arrays `[n, *shape]`, one a field: contiguous, aligned, writable, of native byte order.
        """
        return {name: self._column(buffer, place)[rows] for name, place in self.fields.items()}

    def verify(self, buffer: NDArray[np.uint8], first: int, last: int, *, checksums: bool = False) -> None:
        """Check the structure of records [first, last) and, when asked, their checksums.

        Raises:
            FormatError: names the first record that differs, its byte, what is there and what was expected.
        """
