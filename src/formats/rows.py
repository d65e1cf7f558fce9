"""What every decoder yields and every encoder takes: rows of float32, and the checks they share."""

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Rows: TypeAlias = NDArray[np.float32]
"""Array `[rows, *row_shape]`; every value is finite."""

RowShape: TypeAlias = tuple[int, ...]
"""Shape of one row, e.g. `(64,)`."""

Column: TypeAlias = NDArray[Any] | list[Any]
"""Values of one name, one a row: an array `[rows, ...]`, or a list of text, bytes or arrays of several lengths."""

Columns: TypeAlias = dict[str, Column]
"""Rows of named values."""

Labels: TypeAlias = Sequence[int | str | None]
"""Class of each row of an answer; None where it has none, which only JSON and JSON Lines can say."""


def to_float32(values: object) -> Rows:
    """Cast numbers to float32; what is too large for it becomes infinite, for `first_not_finite` to find."""
    with np.errstate(over="ignore"):
        return np.array(values, dtype=np.float32)


def first_not_finite(rows: Rows) -> tuple[int, ...] | None:
    """Index of the first NaN or infinity, if there is one."""
    finite = np.isfinite(rows)
    if finite.all():
        return None
    return tuple(int(axis) for axis in np.unravel_index(int(np.argmin(finite)), rows.shape))


def count(shape: Sequence[int]) -> str:
    """Say a row's shape as a person would: `64 values`, or `3 x 8 x 8 values`."""
    return f"{' x '.join(map(str, shape))} value{'' if math.prod(shape) == 1 else 's'}"
