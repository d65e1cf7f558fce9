"""A check: a demand of the contract, and the code that tries it."""

from collections.abc import Callable
from dataclasses import dataclass

from .subject import Subject


@dataclass(frozen=True, slots=True)
class Check:
    """One demand of the contract."""

    section: str
    """Section of the contract, as `2.15`."""
    name: str
    """What the image shall do."""
    run: Callable[[Subject], str]
    """Tries it, says what it found, or raises a Verdict."""
