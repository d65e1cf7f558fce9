"""Reading from far away: ask first, wait later, and put what comes into its place at once, while it is in the cache."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..formats.layout import Layout
from .plan import Positions
from .shards import BadRecords, Column, Columns, Read, join

Part: TypeAlias = tuple[Positions, Columns]
"""Some records of a request: their places in it `[m]`, and their columns."""
Waiting: TypeAlias = Callable[[BadRecords], Iterator[Part]]
"""What waits for a request; records that are broken and skipped are in no part."""


class Located(NamedTuple):
    """Where records are in memory."""

    addresses: Positions
    """Of each record that was asked for `[n]`; 0 of those that are broken and skipped."""
    buffers: Sequence[NDArray[np.uint8]]
    """What they lie in."""


class Fetched(NamedTuple):
    """What was read far away."""

    columns: Columns
    kept: Positions | None
    """Places of the request that the columns are for; None for all of them."""
    buffers: Sequence[NDArray[np.uint8]] = ()
    """Memory in which the records lie where the only column is `ADDRESS`."""


ADDRESS = ""
"""The column of records that were located and not copied: the address of each `[n]`."""


@runtime_checkable
class Remote(Protocol):
    """What a shard that is far away has besides."""

    def request(self, rows: Positions) -> Waiting:
        """Begin to fetch records `[n]`."""


@runtime_checkable
class Locating(Protocol):
    """What a shard has that can say where in memory its records are, once they are there."""

    layout: Layout

    def locate(self, rows: Positions) -> Callable[[BadRecords], Located]:
        """Begin to fetch records `[n]`."""


def scatter(total: int, parts: Iterable[Part]) -> Read:
    """Put parts, as they come, into columns of `total` records."""
    columns: Columns = {}
    there = np.zeros(total, dtype=np.bool_)
    uneven: list[Part] = []
    for places, part in parts:
        there[places] = True
        if uneven or not _fits(columns, part):
            uneven.append((places, part))
            continue
        for name, column in part.items():
            if name not in columns:
                columns[name] = np.empty((total, *column.shape[1:]), dtype=column.dtype)  # type: ignore[union-attr]
            _items(columns[name])[places] = _items(column)
    if not uneven:
        kept = np.flatnonzero(there)
        if len(kept) == total:
            return columns, None
        return {name: _take(column, kept) for name, column in columns.items()}, kept
    return _join_uneven(columns, there, uneven)


def gather_anywhere(layout: Layout, addresses: Positions) -> Columns:
    """Copy records of one layout that lie at any addresses `[n]`; what they lie in is held by the caller."""
    start = int(addresses.min())
    memory = np.asarray(_Memory(start, int(addresses.max()) + layout.stride - start))
    return dict(layout.gather_at(memory, addresses - start))


class _Memory:
    """A piece of memory as numpy takes it: read only, and held by somebody else."""

    def __init__(self, address: int, size: int) -> None:
        self.__array_interface__ = {"version": 3, "typestr": "|u1", "shape": (size,), "data": (address, True)}


def _items(column: Column) -> NDArray[Any]:
    """Rows as opaque items `[n]`, not copied: numpy moves each at once rather than value by value."""
    rows = np.ascontiguousarray(column)
    size = rows.dtype.itemsize * int(np.prod(rows.shape[1:]))
    if rows.ndim == 1 or not size:
        return rows
    return rows.reshape(len(rows), -1).view(np.dtype((np.void, size))).ravel()


def _take(column: Column, rows: Positions) -> Column:
    taken: NDArray[Any] = np.asarray(column)[rows]
    return taken


def _fits(columns: Columns, part: Columns) -> bool:
    """Whether a part has arrays only, and of the shape and type that the parts before it have."""
    return all(
        isinstance(column, np.ndarray)
        and (
            not columns
            or (
                isinstance(known := columns.get(name), np.ndarray)
                and (known.shape[1:], known.dtype) == (column.shape[1:], column.dtype)
            )
        )
        for name, column in part.items()
    )


def _join_uneven(columns: Columns, there: NDArray[np.bool_], uneven: list[Part]) -> Read:
    """Join parts of which some have values of other shapes, or no numbers."""
    kept = np.flatnonzero(there)
    parts = [(np.searchsorted(kept, places), part) for places, part in uneven]
    if columns:
        even = np.setdiff1d(kept, np.concatenate([places for places, _ in uneven]))
        parts.append((np.searchsorted(kept, even), {name: _take(column, even) for name, column in columns.items()}))
    return join(parts, len(kept)), None if len(kept) == len(there) else kept
