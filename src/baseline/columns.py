"""Fields of training data, of any shape, as columns of single numbers and texts."""

import logging
from typing import Any

import numpy as np
import pyarrow as pa

from ..formats.rows import Column as Values
from ..formats.rows import Columns
from .summary import Block, Column

log = logging.getLogger("twofold.baseline")

MAX_ELEMENTS = 1024
"""Longest vector whose elements become columns of their own; longer ones, such as images, have no statistics."""


def flat(columns: Columns, told: set[str]) -> tuple[Block, int]:
    """Make columns of some rows, and count these; `told` are names of which it was said that they are left out."""
    block: dict[str, Column] = {}
    rows = 0
    for name, values in columns.items():
        rows = len(values)
        if rows and not name.startswith("__"):
            found = _columns(name, values)
            block.update(found)
            if not found and name not in told:
                told.add(name)
                log.warning(
                    "%s has no statistics: expected a number, a text or up to %d numbers a row", name, MAX_ELEMENTS
                )
    return block, rows


def _columns(name: str, values: Values) -> dict[str, Column]:
    """Columns of one field; none where it is no number, no text and no short vector."""
    if not isinstance(values, np.ndarray):
        return {name: pa.array(values, pa.string())} if _is_text(values) else {}
    if values.dtype.kind not in "fiub":
        return {name: pa.array(values.astype(str), pa.string())} if values.dtype.kind in "US" else {}
    rows = values.reshape(len(values), -1)
    if rows.shape[1] > MAX_ELEMENTS:
        return {}
    if values.ndim == 1:
        return {name: values.astype(np.float64)}
    table = np.ascontiguousarray(rows.T, dtype=np.float64)
    return {f"{name}_{place}": column for place, column in enumerate(table)}


def _is_text(values: list[Any]) -> bool:
    return all(isinstance(value, str) or value is None for value in values)
