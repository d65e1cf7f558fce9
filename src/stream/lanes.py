"""Samples far away, read in lanes: each lane is some neighbouring slots, and asks for many steps of them at once.

A request is worth its wait when it is long, and a slot has many steps in one stretch of its shard. If all slots
asked for long stretches together, all of them would have to be in memory twice. So slots are divided into lanes, and
the requests of each lane begin at other steps than those of the others:

    lane 0   |--|--|--------|--------|        steps to the right
    lane 1   |--|-----|--------|--------|
    lane 2   |--|--------|--------|-----

The first requests are short, since somebody waits for the first batch.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .plan import Block, Plan, Positions, rank_slots
from .remote import Fetched
from .shards import Columns, join

LANES = 3
"""Lanes of a rank, and the units that a long request has."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Steps [first, last) of one lane."""

    lane: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Rows:
    """What one or more lanes have of consecutive steps."""

    ids: Positions
    """Sample ids `[n]`, step after step."""
    ends: Positions
    """Row after the last one of each step `[steps]`."""
    columns: Columns
    """The fields of them, each `[n, ...]`, or where they lie; none where there is no row."""
    memory: object = None
    """What they lie in; held and not looked at."""

    def part(self, first: int, last: int) -> "Rows":
        """Rows of steps [first, last), counted from the first step here; not copied."""
        start = int(self.ends[first - 1]) if first else 0
        stop = int(self.ends[last - 1])
        columns = {name: column[start:stop] for name, column in self.columns.items()}
        return Rows(self.ids[start:stop], self.ends[first:last] - start, columns, self.memory)


def stretches(start: int, stop: int, first: int, unit: int, lanes: int) -> Iterator[Stretch]:
    """Cut steps [start, stop) into stretches for each lane, in the order in which they are needed.

    Args:
        start: the first step.
        stop: the step after the last one.
        first: where the first stretch of each lane ends.
        unit: steps of which later ones have a whole number.
        lanes: number of lanes.
    """
    at, taken = [start] * lanes, [0] * lanes
    while (begin := min(at)) < stop:
        lane = at.index(begin)
        long = begin + unit * (lane + 1 if taken[lane] == 1 else lanes)
        at[lane] = min(long if taken[lane] else first, stop)
        taken[lane] += 1
        yield Stretch(lane, begin, at[lane])


def rows_of(block: Block, columns: Columns, kept: Positions | None, memory: object = None) -> Rows:
    """What was read of a block; samples that were skipped, which are not among `kept`, are in no step."""
    ids, ends = block.sample_ids, np.cumsum(block.counts)
    if kept is not None:
        ids, ends = ids[kept], np.searchsorted(kept, ends)
    return Rows(ids, ends, columns, memory)


def merge(parts: Sequence[Rows]) -> Rows:
    """Put the rows of lanes, in the order of their slots, side by side in each step."""
    if len(parts) == 1:
        return parts[0]
    counts = np.array([np.diff(part.ends, prepend=0) for part in parts])
    memory = [part.memory for part in parts]
    steps, ends = counts.shape[1], np.cumsum(counts.sum(axis=0))
    if (counts == counts[:, :1]).all() and counts[:, 0].all() and _alike(parts):
        widths = counts[:, 0].tolist()
        ids = _side_by_side([part.ids for part in parts], widths, steps)
        columns: Columns = {
            name: _side_by_side([np.asarray(part.columns[name]) for part in parts], widths, steps)
            for name in parts[0].columns
        }
        return Rows(ids, ends, columns, memory)
    of_step = np.concatenate([np.repeat(np.arange(steps), count) for count in counts])
    places = np.empty(len(of_step), dtype=np.int64)
    places[np.argsort(of_step, kind="stable")] = np.arange(len(of_step))
    by_part = np.split(places, np.cumsum(counts.sum(axis=1))[:-1])
    found = [(there, part.columns) for there, part in zip(by_part, parts, strict=True) if len(there)]
    ids = np.empty(len(places), dtype=np.int64)
    ids[places] = np.concatenate([part.ids for part in parts])
    return Rows(ids, ends, join(found, len(places)), memory)


def _alike(parts: Sequence[Rows]) -> bool:
    """Whether all parts have arrays only, of the same fields, shapes and types."""

    def kinds(part: Rows) -> dict[str, object]:
        return {
            name: (column.shape[1:], column.dtype) if isinstance(column, np.ndarray) else part
            for name, column in part.columns.items()
        }

    first = kinds(parts[0])
    return all(kinds(part) == first for part in parts[1:])


def _side_by_side(parts: Sequence[NDArray[Any]], widths: Sequence[int], steps: int) -> NDArray[Any]:
    """Join arrays of so many rows a step each `[steps * width, ...]`."""
    shape, total = parts[0].shape[1:], sum(widths)
    out = np.empty((steps, total, *shape), dtype=parts[0].dtype)
    start = 0
    for part, width in zip(parts, widths, strict=True):
        out[:, start : start + width] = part.reshape(steps, width, *shape)
        start += width
    return out.reshape(steps * total, *shape)


def read_in_lanes(
    plan: Plan,
    slots: range,
    cut: Iterator[Stretch],
    ask: Callable[[Positions], Future[Fetched]],
    *,
    ahead: int,
    most: int,
) -> Iterator[Rows]:
    """Yield the rows of slots, a few steps at a time.

    Args:
        plan: the order of the epoch.
        slots: those of this rank.
        cut: the stretches of all lanes.
        ask: begins to read samples `[n]`.
        ahead: samples that may be asked for before their steps are due.
        most: steps that are yielded together.
    """
    lanes = lane_slots(slots)
    asked: deque[tuple[Stretch, Block, Future[Fetched]]] = deque()
    held: dict[int, tuple[Stretch, Rows]] = {}
    coming = next(cut, None)
    step = coming.first if coming else 0
    while coming or asked or held:
        while coming and (coming.first <= step or _samples(asked) < ahead):
            block = plan.block(coming.first, coming.last, lanes[coming.lane])
            asked.append((coming, block, ask(block.sample_ids)))
            coming = next(cut, None)
        while asked and asked[0][0].first <= step:
            stretch, block, reading = asked.popleft()
            held[stretch.lane] = stretch, rows_of(block, *reading.result())
        last = min(step + most, *(stretch.last for stretch, _ in held.values()))
        yield merge([rows.part(step - at.first, last - at.first) for _, (at, rows) in sorted(held.items())])
        step = last
        # What has been used up is given back before more is asked for.
        held = {lane: item for lane, item in held.items() if item[0].last > step}


def lane_slots(slots: range) -> list[range]:
    """The slots of each lane: neighbours."""
    lanes = min(LANES, len(slots))
    parts = [rank_slots(len(slots), lane, lanes) for lane in range(lanes)]
    return [slots[part.start : part.stop] for part in parts]


def _samples(asked: Sequence[tuple[Stretch, Block, Future[Fetched]]]) -> int:
    """Samples that have been asked for and are not due yet."""
    return sum(len(block.sample_ids) for _, block, _ in asked)
