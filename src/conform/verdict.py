"""What comes of a check, and the three ways in which it can end.

ok       the image does what the contract asks
failed   it does not, and a job or an endpoint would suffer from it
absent   the contract leaves it to the image, and this one does not have it; or there was nothing to try it with
"""

from dataclasses import dataclass
from typing import Literal

Result = Literal["ok", "failed", "absent"]


class Verdict(Exception):
    """A check that has not ended well."""

    result: Result = "failed"

    def __init__(self, found: str, change: str) -> None:
        super().__init__(found)
        self.found, self.change = found, change


class Failed(Verdict):
    """The image does not do what the contract asks."""


class Absent(Verdict):
    """The image does not have something that it need not have."""

    result: Result = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came of a check."""

    section: str
    """Section of the contract."""
    check: str
    """What the image shall do."""
    result: Result
    """How it ended."""
    found: str
    """What was found."""
    change: str = ""
    """What to change; empty when it is well."""
    seconds: float = 0.0
    """How long it took."""


def expect(holds: object, found: str, change: str) -> None:
    """Fail unless a condition holds."""
    if not holds:
        raise Failed(found, change)
