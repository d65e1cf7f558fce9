"""How fast a model is, measured before the first request: where it runs and how large its batches are."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

INLINE_SECONDS = 0.002
"""A forward pass up to this long runs in the loop itself: handing it to a thread would cost more than it takes."""

_SLOW_SECONDS = 0.1
"""What a batch of a slower model may take, so that who comes next does not wait long."""
_MOST_ROWS = 4096
_TRIAL_SECONDS = 1.0
"""Time for all trials; the last one may go beyond it."""
_ENOUGH = 1.1
"""A row may take this much longer than in the best batch tried."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What was found."""

    inline: bool
    """Whether the model runs in the loop's own thread."""
    rows: int
    """Most rows of one forward pass."""
    seconds_per_row: float
    """Time of one row in such a pass."""
    seconds_per_pass: float = 0.0
    """Time that a pass takes besides, whatever its rows."""

    def seconds(self, rows: float) -> float:
        """Time of so many rows in passes as large as can be."""
        return rows * self.seconds_per_row + math.ceil(rows / self.rows) * self.seconds_per_pass


def measure(
    run: Callable[[NDArray[np.float32]], NDArray[Any]], row_shape: tuple[int, ...], rows: int | None = None
) -> Pace:
    """Time a model on rows of zeros, doubling their number as long as a pass is short.

    Args:
        run: the model, warmed.
        row_shape: shape of one row.
        rows: most rows of a pass, if that is set already.
    """
    end = time.perf_counter() + _TRIAL_SECONDS
    single = min(_seconds(run, row_shape, 1) for _ in range(5))
    inline = single <= INLINE_SECONDS
    if rows is not None:
        seconds = _seconds(run, row_shape, rows)
        return _pace(single, rows, seconds, inline=inline and seconds <= 2 * INLINE_SECONDS)
    bound = INLINE_SECONDS if inline else max(_SLOW_SECONDS, single)
    tried = {1: single}
    size = 2
    while size <= _MOST_ROWS and time.perf_counter() + size * min(_per_row(tried)) < end:
        seconds = min(_seconds(run, row_shape, size) for _ in range(3 if inline else 1))
        if seconds > bound:
            break
        tried[size] = seconds
        size *= 2
    # The smallest of those that are about as good as the best: on a busy machine a single trial says little.
    enough = _ENOUGH * min(_per_row(tried))
    best = min(size for size, seconds in tried.items() if seconds / size <= enough)
    return _pace(single, best, tried[best], inline=inline)


def _per_row(tried: dict[int, float]) -> list[float]:
    return [seconds / size for size, seconds in tried.items()]


def _pace(single: float, rows: int, seconds: float, *, inline: bool) -> Pace:
    """Tell what a pass takes by itself from what its rows take, by a pass of one and one of many."""
    per_row = max(0.0, seconds - single) / (rows - 1) if rows > 1 else single
    return Pace(inline, rows, per_row, max(0.0, single - per_row))


def _seconds(run: Callable[[NDArray[np.float32]], NDArray[Any]], row_shape: tuple[int, ...], rows: int) -> float:
    batch = np.zeros((rows, *row_shape), np.float32)
    start = time.perf_counter()
    run(batch)
    return time.perf_counter() - start
