"""Which records are set aside for validation, by a hash of the record: the same ones however the data is sharded.

Records with a key (`__key__`, the name of a file or of an archive's sample) are judged by it, others by all their
values, so that copies of one record are never on both sides.

Numbers are hashed as 32-bit words times random odd multipliers, summed modulo 2**64. Source: Lemire and Kaser,
"Strongly universal string hashing is fast", The Computer Journal, 2014.
"""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..stream.shards import Column, Columns

KEY = "__key__"

Words = NDArray[np.uint64]
_ROWS = 4096


def is_validation(columns: Columns, share: float) -> NDArray[np.bool_]:
    """Tell of each record `[n]` whether it is among the given share."""
    return hashes(columns) < np.uint64(min(int(share * 2.0**64), 2**64 - 1))


def hashes(columns: Columns) -> Words:
    """Hash records: `[n]`; names and values of columns count, their order does not."""
    if KEY in columns:
        return _of_column(KEY, columns[KEY])
    total = np.zeros(len(next(iter(columns.values()))), dtype=np.uint64)
    for name, column in columns.items():
        total += _of_column(name, column)
    return _mix(total)


def _of_column(name: str, column: Column) -> Words:
    salt = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
    if not isinstance(column, np.ndarray):
        return np.array([_of_value(name, value) for value in column], dtype=np.uint64)
    rows = np.ascontiguousarray(column.astype(column.dtype.newbyteorder("<"), copy=False)).reshape(len(column), -1)
    content = rows.view(np.uint8).reshape(len(rows), -1) if rows.size else np.zeros((len(rows), 0), np.uint8)
    words = np.zeros((len(rows), -(-content.shape[1] // 4) * 4), np.uint8)
    words[:, : content.shape[1]] = content
    numbers = words.view("<u4")
    factors = _mix(np.arange(1, numbers.shape[1] + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) | np.uint64(1)
    sums = [
        (numbers[place : place + _ROWS].astype(np.uint64) * factors).sum(axis=1, dtype=np.uint64)
        for place in range(0, len(rows), _ROWS)
    ]
    return _mix(np.concatenate([np.zeros(0, np.uint64), *sums]) + np.uint64(salt))


def _of_value(name: str, value: NDArray[Any] | str | bytes) -> int:
    if isinstance(value, np.ndarray):
        content = f"{value.shape}".encode() + np.ascontiguousarray(value).tobytes()
    else:
        content = value.encode() if isinstance(value, str) else value
    return int.from_bytes(hashlib.blake2b(content, digest_size=8, key=name.encode()[:64]).digest(), "little")


def _mix(value: Words) -> Words:
    """Finalizer of SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
