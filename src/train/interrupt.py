"""A flag that SIGTERM raises and the loop reads at the end of a step."""

import contextlib
import signal
import time
from collections.abc import Iterator
from types import FrameType


class Interrupt:
    """Whether this rank was told to stop."""

    raised_at: float | None = None
    """When it was told first, by time.monotonic()."""

    @property
    def raised(self) -> bool:
        """Whether it was told."""
        return self.raised_at is not None

    def _raise(self, _number: int, _frame: FrameType | None) -> None:
        self.raised_at = self.raised_at or time.monotonic()


@contextlib.contextmanager
def listening() -> Iterator[Interrupt]:
    """Raise the flag on SIGTERM instead of dying; Ctrl-C is the parent's to translate."""
    interrupt = Interrupt()
    before = signal.signal(signal.SIGTERM, interrupt._raise)  # noqa: SLF001 - the handler belongs to the flag
    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, ignored)
