"""A flag that SIGTERM raises and the loop reads at the end of a step."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class Interrupt:
    """Whether this rank was told to stop."""

    def __init__(self) -> None:
        self.raised = False

    def _raise(self, _number: int, _frame: FrameType | None) -> None:
        self.raised = True


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
