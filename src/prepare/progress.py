"""How far a run is: a bar on a terminal, elsewhere a line for each tenth."""

import logging
import sys
import time
from contextlib import ExitStack
from typing import Any, Self

import click

log = logging.getLogger("twofold.prepare")

_LINE_S = 30.0


class Progress:
    """Shows how much of the input is read; a context manager."""

    def __init__(self, total: int, shards: int, *, before: int = 0, shards_before: int = 0) -> None:
        """Take the sizes of the whole; `before` and `shards_before` are what an earlier run has done."""
        self._total, self._shards = max(total, 1), shards
        self._done, self._ready, self._before = before, shards_before, before
        self._started = self._told = time.monotonic()
        self._tenth = 10 * before // self._total
        self._bar: Any = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            bar = click.progressbar(length=self._total, label="prepare", file=sys.stderr, show_pos=False)
            self._bar = self._stack.enter_context(bar)
            self._bar.update(self._done)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def unit_done(self, size: int) -> None:
        """Take note of a unit that is done, of so many units of measure."""
        self._done += size
        self._ready += 1
        self.under_way(0)

    def under_way(self, partly: int) -> None:
        """Show what is done, and how much is read of what is not."""
        place = min(self._done + partly, self._total)
        if self._bar is not None:
            self._bar.update(max(place - self._bar.pos, 0))
            return
        now = time.monotonic()
        tenth = 10 * place // self._total
        if tenth > self._tenth or now - self._told > _LINE_S:
            self._tenth, self._told = max(tenth, self._tenth), now
            speed = (place - self._before) / max(now - self._started, 1e-3)
            left = (self._total - place) / speed if speed else 0.0
            log.info(
                "%d%% read, %d of %d shards ready, about %.0f s left",
                100 * place // self._total,
                self._ready,
                self._shards,
                left,
            )
