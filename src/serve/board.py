"""Numbers that all workers of a server see: one row each in shared memory without a name, made before the fork.

There is no file behind it: a serverless container has no /dev/shm. A row is written by its worker alone, but for the
connections that another hands over; a worker that takes the place of a dead one goes on with its row, so that counters
only grow.
"""

import mmap
import time
from typing import TypeAlias

FREE, STARTING, SERVING, STOPPING = 0.0, 1.0, 2.0, 3.0

STATE = 0
"""One of the four above."""
BEAT = 1
"""When the worker's loop last turned, by the monotonic clock, which all processes share."""
CONNECTIONS = 2
"""Connections that the worker has, or that are on their way to it."""
BUSY_SINCE = 3
"""When the model was given what it computes now; 0 while it has nothing."""
IN_FLIGHT = 4
"""Requests that are being answered."""
READY = 5
"""1 once the worker has the model, also what no fork takes along."""
COUNTERS = 16
"""First number of the counters, which `metrics` lays out."""
ROW = 512
"""Numbers of a row."""

Row: TypeAlias = "memoryview[float]"
"""One worker's numbers, float64."""

_ALIVE = 5.0
"""Seconds since its last beat after which a worker is given no more connections."""


class Board:
    """Rows of float64 numbers."""

    def __init__(self, seats: int) -> None:
        self.seats = seats
        self._memory = mmap.mmap(-1, seats * ROW * 8)
        numbers = memoryview(self._memory).cast("d")
        self.rows: list[Row] = [numbers[seat * ROW : (seat + 1) * ROW] for seat in range(seats)]

    def take_seat(self) -> int:
        """Give a seat to a worker that is about to be forked; with all taken it shares the first."""
        seat = next((seat for seat in range(self.seats) if self.rows[seat][STATE] == FREE), 0)
        self.rows[seat][STATE] = STARTING
        return seat

    def free_seat(self, seat: int) -> None:
        """Take back the seat of a worker that has ended, but keep its counters."""
        for field in range(COUNTERS):
            self.rows[seat][field] = 0.0

    def alive(self) -> list[int]:
        """Seats of the workers that accept connections."""
        now = time.monotonic()
        return [seat for seat, row in enumerate(self.rows) if row[STATE] == SERVING and now - row[BEAT] < _ALIVE]
