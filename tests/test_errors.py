"""The error tree is the one that its module draws."""

import inspect
import re

import pytest
from twofold import errors

DRAWN = {
    name: (int(exit_code), int(status))
    for name, exit_code, status in re.findall(r"(\w+) +exit (\d) +(\d{3})", errors.__doc__ or "")
}
DRAWN |= {
    name: (1, int(status))
    for name, status in re.findall(r"── (\w+) +(\d{3})(?:$| {3})", errors.__doc__ or "", re.MULTILINE)
}
CLASSES = {
    name: cls for name, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.TwofoldError)
}


def test_drawing_names_every_class() -> None:
    assert set(DRAWN) | {"UserError"} == set(CLASSES)


@pytest.mark.parametrize("name", sorted(DRAWN))
def test_codes_are_as_drawn(name: str) -> None:
    assert (CLASSES[name].exit_code, CLASSES[name].status) == DRAWN[name]


def test_every_class_names_its_cause() -> None:
    assert all(cls.cause and cls.cause == cls.cause.lower() for cls in CLASSES.values())
