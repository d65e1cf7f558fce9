"""Values of JSON as arrays."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAX_AXES = 16
_WHOLE = 1 << 63


def numeric(value: object) -> NDArray[Any] | None:
    """A number or an even, nested list of numbers as an array; None for anything else.

    Whole numbers become int64, numbers of which one has a point float32, `true` and `false` bool. Types are looked at
    before numpy sees the list: it would take `"1"` and `true` for numbers.
    """
    shape: list[int] = []
    items = [value]
    while items and type(items[0]) is list:
        rows = [item for item in items if type(item) is list]
        size = len(rows[0])
        if len(rows) < len(items) or any(len(row) != size for row in rows) or len(shape) == _MAX_AXES:
            return None
        shape.append(size)
        items = [item for row in rows for item in row]
    array = _flat(items)
    return None if array is None else array.reshape(shape)


def _flat(items: list[Any]) -> NDArray[Any] | None:
    types = set(map(type, items))
    if types == {int}:
        return np.array(items, np.int64) if min(items) >= -_WHOLE and max(items) < _WHOLE else None
    if types == {bool}:
        return np.array(items, np.bool_)
    if types <= {int, float}:
        with np.errstate(over="ignore"):
            array = np.array(items, np.float32)
        return array if np.isfinite(array).all() else None
    return None
