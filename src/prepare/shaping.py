"""Columns as they are read, made into columns as the format asked for holds them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, FormatError
from ..formats import images
from ..stream.shards import Column, Columns
from .split import KEY

LABEL, FEATURES, IMAGE = "label", "features", "image"

BY_STRIDE = ("recordio", "npy")
"""Formats whose records are read by stride: pixels instead of files, one vector of features, no names of records."""
_EXTENSIONS = frozenset({"jpg", "jpeg", "png", "webp", "bmp", "gif", "npy", "cls", "json", "txt"})


def joined(columns: Columns, label: str | None, kind: str) -> list[str]:
    """Names of the columns that `labelled` joins to one vector, in order."""
    others = {name: column for name, column in columns.items() if name != label}
    if label is None or kind not in BY_STRIDE or FEATURES in others:
        return []
    return [name for name, column in others.items() if _is_number(column)]


def labelled(columns: Columns, label: str | None, kind: str) -> Columns:
    """Give the label its name; where records are read by stride, join all other numbers to one vector of features.

    Raises:
        DataError: no column of that name.
    """
    if label is None:
        return columns
    if label not in columns:
        raise DataError(f"No column {label!r}; there are: {', '.join(columns)[:400]}. Correct --label.")
    others = {name: column for name, column in columns.items() if name != label}
    if LABEL in others:
        raise DataError(f"Column {label!r} is to be the label, and there is one called 'label'. Rename either.")
    names = joined(columns, label, kind)
    if not names:
        return {LABEL: columns[label], **others}
    vector = np.stack([np.asarray(others[name], dtype=np.float32) for name in names], axis=1)
    return {LABEL: columns[label], FEATURES: vector, **{n: c for n, c in others.items() if n not in names}}


def fitted(columns: Columns, kind: str, first: int, unit: int) -> Columns:
    """Leave out or add what the format needs or has no place for.

    Args:
        columns: the records.
        kind: format to be written.
        first: number of the first record within its unit.
        unit: number of the unit, which with `first` names records that have no name.
    """
    if kind in BY_STRIDE:
        # RecordIO has a map of features: a name of its own would become a second part of the name.
        names = {IMAGE: FEATURES} if kind == "recordio" and FEATURES not in columns else {}
        return {names.get(name, name): column for name, column in columns.items() if name != KEY}
    if kind != "tar":
        return columns
    count = len(next(iter(columns.values())))
    keys = columns.get(KEY) or [f"{unit:05d}-{first + place:08d}" for place in range(count)]
    return {KEY: list(keys)} | {_extension(name, c): c for name, c in columns.items() if name != KEY}


def check_image(data: bytes) -> None:
    """Look at the first bytes of an image that is not decoded.

    Raises:
        FormatError: it is none.
    """
    if images.signature(data[:12]) is None:
        raise FormatError(f"found {data[:12]!r} at the start, expected an image: {', '.join(images.KINDS)}.")


def _is_number(column: Column) -> bool:
    return isinstance(column, np.ndarray) and column.ndim == 1 and column.dtype.kind in "biuf"


def _extension(name: str, column: Column) -> str:
    """Name of a member that says what it holds; a name that says so already is kept."""
    if name.rpartition(".")[2] in _EXTENSIONS:
        return name
    if isinstance(column, np.ndarray):
        whole = column.ndim == 1 and column.dtype.kind in "iu"
        return ("cls" if name == LABEL else f"{name}.cls") if whole else f"{name}.npy"
    kinds = {type(value) for value in column}
    if kinds <= {str}:
        return f"{name}.txt"
    if kinds <= {bytes}:
        return f"{name}.bin"
    return f"{name}.npy"


def taken(columns: Columns, kept: NDArray[np.bool_]) -> Columns:
    """Records where `kept` is true."""
    if kept.all():
        return columns
    places = np.flatnonzero(kept)
    return {
        name: column[places] if isinstance(column, np.ndarray) else [column[place] for place in places.tolist()]
        for name, column in columns.items()
    }


def described(columns: Columns) -> dict[str, Any]:
    """Type and shape of each column: what `schema` in the index says."""
    return {name: _described(column) for name, column in columns.items()}


def merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Schema of two blocks or shards together; a shape that is not the same in both is null."""
    both = dict(first)
    for name, entry in second.items():
        known = both.setdefault(name, entry)
        if known != entry:
            both[name] = (
                {**known, "shape": None} if known["dtype"] == entry["dtype"] else {"dtype": "any", "shape": None}
            )
    return both


def _described(column: Column) -> dict[str, Any]:
    if isinstance(column, np.ndarray):
        return {"dtype": column.dtype.newbyteorder("<").str, "shape": list(column.shape[1:])}
    first = column[0] if column else b""
    if isinstance(first, np.ndarray):
        return {"dtype": first.dtype.newbyteorder("<").str, "shape": None}
    return {"dtype": "text" if isinstance(first, str) else "bytes", "shape": None}


def is_image(extension: str) -> bool:
    """Tell whether members of this extension are images."""
    return f".{extension.rpartition('.')[2]}" in images.SUFFIXES


def plain(columns: Columns) -> Columns:
    """Give the members of samples the names that tables have: `cls` is the label, the image `image`."""
    pictures = [name for name in columns if is_image(name)]
    names = {"cls": LABEL} | ({pictures[0]: "image"} if len(pictures) == 1 else {})
    renamed = {names.get(name, name): column for name, column in columns.items()}
    if len(renamed) < len(columns):
        raise FormatError(f"Two of the members {', '.join(columns)} would have one name. Rename them.")
    return renamed
