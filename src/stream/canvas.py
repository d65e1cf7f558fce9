"""One array for the images of a batch: decoded into it, they need not be copied to put the batch together."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..formats.images import Pixels, Room

_Shape = tuple[int, int, int]


class Canvas:
    """Room for a number of images of the size of the first one; those of another size get arrays of their own."""

    def __init__(self, images: int) -> None:
        self._images, self._lock = images, threading.Lock()
        self._pixels: Pixels | None = None
        self._places: dict[int, int] = {}
        self._rows: dict[int, Pixels] = {}

    def room(self, place: int) -> Room:
        """Return what gives the row of one place, once."""
        return lambda shape: self._row(place, shape)

    def column(self, values: Sequence[Any]) -> Pixels | None:
        """Return the images `[n, height, width, 3]` as one array where each of them is a row of the canvas."""
        places = [self._places.get(id(value), -1) for value in values]
        if -1 in places or self._pixels is None:
            return None
        pixels: Pixels = self._pixels if places == list(range(self._images)) else self._pixels[places]
        return pixels

    def _row(self, place: int, shape: _Shape) -> Pixels | None:
        with self._lock:
            if self._pixels is None:
                self._pixels = np.empty((self._images, *shape), dtype=np.uint8)
            if place in self._rows or self._pixels.shape[1:] != shape:
                return None
            # Kept, so that its identity is not given to another object.
            row: Pixels = self._pixels[place]
            self._rows[place] = row
            self._places[id(row)] = place
            return row
