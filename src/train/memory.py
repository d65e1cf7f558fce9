"""What to do when the memory of a device runs out: halve the micro-batch on all ranks, and let no rank wait in vain."""

import logging
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from .ranks import Ranks

log = logging.getLogger(__name__)

ADVICE = (
    "Expected the samples of one forward pass to fit into the memory of the device on every rank: lower "
    "'micro_batch_size' (the loss stays the same), set 'activation_checkpointing', or use instances with larger GPUs."
)
"""For a failure that halving cannot mend."""


class MicroBatch:
    """The samples of one forward pass on each rank, the same number on all."""

    def __init__(self, size: int, ranks: Ranks) -> None:
        """Begin with so many; 0: a rank's whole share of the batch."""
        self.size = size
        self.tried = 0
        """Most samples of one forward pass that this rank has had at this size."""
        self.is_least = False
        """Whether memory has run out with one sample."""
        self._ranks = ranks

    def slices(self, count: int, *, equal: bool) -> list[slice]:
        """Cut a share of `count` samples; one empty slice where it is empty, since peers wait for every rank.

        Args:
            count: samples of the share.
            equal: take as many slices as the rank that needs most, the last ones empty; call it on every rank.
        """
        size = self.size or max(count, 1)
        self.tried = max(self.tried, min(size, count))
        number = max(-(-count // size), 1)
        if equal and self.size:
            number = self._ranks.largest(number)
        return [slice(min(start, count), min(start + size, count)) for start in range(0, number * size, size)]

    def halve(self, count: int) -> None:
        """Go on with half as many, after an attempt with a share of `count` samples; call it on every rank.

        Raises:
            torch.OutOfMemoryError: not even one sample fits.
        """
        tried = self._ranks.largest(min(self.size, count) if self.size else count)
        if tried <= 1:
            self.is_least = True
            raise told(torch.OutOfMemoryError("The memory of a device ran out on a rank with one sample"))
        self.size, self.tried = -(-tried // 2), 0
        if self._ranks.device.type == "cuda":
            # What the failed attempt has left in the allocator's cache may be in pieces too small for the next one.
            torch.cuda.empty_cache()
        if self._ranks.is_first:
            log.warning("out of memory with %d samples a forward pass: going on with %d at once", tried, self.size)


class Guard:
    """A way through a fully sharded model for a rank that has run out of memory, since peers wait in each block.

    It goes on with no samples, so that it takes part in gathering the weights of the remaining blocks. Methods are
    wrapped and not modules: FSDP's own hooks run before and after them, as on every other rank.
    """

    def __init__(self, module: nn.Module, parts: Iterable[nn.Module]) -> None:
        """Wrap a module and its parts before they are sharded."""
        self.ran_out = False
        self._entered = 0
        self._parts = list(parts)
        for part in self._parts:
            part.forward = self._guarded(part.forward)
        module.forward = self._outer(module.forward)

    @property
    def is_inside(self) -> bool:
        """Whether some blocks were entered and others not: between two of them nothing can be made up for."""
        return 0 < self._entered < len(self._parts)

    def _guarded(self, forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def run(first: Tensor, *others: object, **named: object) -> Tensor:
            self._entered += 1
            if not self.ran_out:
                try:
                    return forward(first, *others, **named)
                except torch.OutOfMemoryError:
                    self.ran_out = True
            return forward(first[:0], *others, **named)

        return run

    def _outer(self, forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def run(rows: Tensor) -> Tensor:
            self.ran_out, self._entered = False, 0
            try:
                return forward(rows)
            except torch.OutOfMemoryError:
                if self.is_inside:
                    raise
            self.ran_out = True
            # Where all blocks were entered, peers wait for nothing more; else all are entered now.
            return rows.new_zeros(0) if self._entered else forward(rows[:0])

        return run


class BeginAgain(Exception):
    """Memory has run out where peers wait for this rank: leaving is what ends their wait, and all may begin again.

    It is raised from the error that says where memory ran out.
    """

    def __init__(self, tried: int, step: int) -> None:
        """Take the samples of one forward pass that did not fit, more than one, and the number of the step."""
        super().__init__(f"with {tried} samples a forward pass, in step {step}")
        self.tried, self.step = tried, step

    @property
    def smaller(self) -> int:
        """Samples of one forward pass to begin again with."""
        return -(-self.tried // 2)


def told(error: torch.OutOfMemoryError) -> torch.OutOfMemoryError:
    """Add what to do about it."""
    error.add_note(ADVICE)
    return error
