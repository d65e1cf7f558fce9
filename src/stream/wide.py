"""Copies large items by torch: on all of its threads, and without holding the interpreter's lock as numpy does."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..formats.layout import Buffer


class _Alias:
    """The bytes of a read-only array under a writable name, since torch warns of any other; nothing writes to them."""

    def __init__(self, memory: Buffer) -> None:
        self.memory = memory
        self.__array_interface__: dict[str, Any] = {
            "version": 3,
            "typestr": "|u1",
            "shape": memory.shape,
            "strides": memory.strides,
            "data": (memory.ctypes.data, False),
        }


def move(memory: Buffer, starts: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
    """Copy items of `size` bytes that begin at the bytes `[n]` of a piece of memory; returns `[n, size]`."""
    whole = torch.from_numpy(np.asarray(_Alias(memory)))
    # An item at every byte: those that overlap are never taken.
    items = whole.as_strided((len(memory) - size + 1, size), (1, 1))
    moved: NDArray[np.uint8] = torch.index_select(items, 0, torch.from_numpy(starts)).numpy()
    return moved
