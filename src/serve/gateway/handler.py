"""What the loop asks of the code around it."""

from typing import Protocol

from .connection import Exchange


class Handler(Protocol):
    """What answers requests."""

    def take(self, exchange: Exchange) -> None:
        """Take a whole request; the answer may come now or later."""
        ...

    def answered(self, exchange: Exchange) -> None:
        """Note that the answer to a request is out, or that its client has gone."""
        ...

    @property
    def pending(self) -> bool:
        """Whether `turn` has something to do."""
        ...

    @property
    def idle(self) -> bool:
        """Whether every request that was taken is answered."""
        ...

    @property
    def full(self) -> bool:
        """Whether `turn` should be called before more is read."""
        ...

    def turn(self) -> None:
        """Work off what was taken."""
        ...

    def tick(self, now: float) -> None:
        """Do what is due; called about once a second."""
        ...


class Owner(Protocol):
    """What the loop runs in."""

    def fileno(self) -> int:
        """Pipe that is readable once a signal has come."""
        ...

    def tick(self) -> bool:
        """Give a sign of life; False once the loop is to stop."""
        ...
