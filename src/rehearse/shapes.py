"""Requests and answers held against botocore's own description of the service: the same file that every client has."""

import difflib
import functools
import re
from collections.abc import Iterator
from typing import Any

import botocore.session

from ..errors import ApiError
from .store import Document

Shape = Any
"""A shape or a service of botocore, which has no types."""
Value = Any
"""A JSON value."""
MAX_REPORTED = 5
MAX_SHOWN = 8


@functools.cache
def service(name: str = "sagemaker") -> Shape:
    """Model of a service, as botocore ships it."""
    return botocore.session.get_session().get_service_model(name)


def check(operation: str, request: Document) -> None:
    """Refuse a request that AWS would not parse or would not take.

    Raises:
        ApiError: fields that do not exist, are missing, or have a wrong type, length, range, value or form.
    """
    shape = service().operation_model(operation).input_shape
    problems = list(_problems(shape, request, "")) if shape is not None else []
    if problems:
        raise ApiError(
            f"{len(problems)} validation error{'s' * (len(problems) > 1)} detected in {operation}: "
            + "; ".join(problems[:MAX_REPORTED]),
            code="ValidationException",
        )


def cut(shape: Shape, value: Value) -> Value:
    """Keep of a value what a shape has: internal fields and those of other operations go."""
    if shape.type_name == "structure" and isinstance(value, dict):
        return {
            key: cut(member, value[key])
            for key, member in shape.members.items()
            if key in value and value[key] is not None
        }
    if shape.type_name == "list" and isinstance(value, list):
        return [cut(shape.member, item) for item in value]
    return value


def answer(operation: str, document: Document) -> Document:
    """Keep of a document what the operation answers."""
    shape = service().operation_model(operation).output_shape
    return {} if shape is None else dict(cut(shape, document))


def _problems(shape: Shape, value: Value, path: str) -> Iterator[str]:
    look = _LOOKS.get(shape.type_name)
    return iter(()) if look is None else look(shape, value, path)


def _list(shape: Shape, value: Value, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{path} is {value!r}, expected a list"
        return
    yield from _size(shape, len(value), path, "items")
    for index, item in enumerate(value):
        yield from _problems(shape.member, item, f"{path}[{index}]")


def _map(shape: Shape, value: Value, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path} is {value!r}, expected a map"
        return
    yield from _size(shape, len(value), path, "entries")
    for key, item in value.items():
        yield from _problems(shape.key, key, f"key {key!r} of {path}")
        yield from _problems(shape.value, item, f"{path}[{key!r}]")


def _boolean(_shape: Shape, value: Value, path: str) -> Iterator[str]:
    if not isinstance(value, bool):
        yield f"{path} is {value!r}, expected true or false"


def _number(shape: Shape, value: Value, path: str) -> Iterator[str]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield f"{path} is {value!r}, expected a number"
    else:
        yield from _size(shape, value, path, "")


def _structure(shape: Shape, value: Value, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path or 'the request'} is {value!r}, expected an object"
        return
    for key in shape.required_members:
        if value.get(key) is None:
            yield f"{_join(path, key)} is missing"
    for key, item in value.items():
        if key not in shape.members:
            yield f"{_join(path, key)} does not exist"
        elif item is not None:
            yield from _problems(shape.members[key], item, _join(path, key))


def _string(shape: Shape, value: Value, path: str) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{path} is {value!r}, expected text"
        return
    yield from _size(shape, len(value), path, "characters")
    if shape.enum and value not in shape.enum:
        near = difflib.get_close_matches(value, shape.enum, n=MAX_SHOWN, cutoff=0.0)
        rest = f" (and {len(shape.enum) - len(near)} more)" if len(shape.enum) > len(near) else ""
        yield f"{path} is {value!r}, expected one of {', '.join(near)}{rest}"
    pattern = shape.metadata.get("pattern")
    if pattern and not _matches(pattern, value):
        yield f"{path} is {value!r}, expected the form {pattern}"


_LOOKS = {
    "structure": _structure,
    "list": _list,
    "map": _map,
    "string": _string,
    "boolean": _boolean,
    **dict.fromkeys(("integer", "long", "float", "double"), _number),
}


def _size(shape: Shape, size: float, path: str, unit: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and size < low:
        yield f"{path} has {size} {unit}, expected at least {low}" if unit else f"{path} is {size}, at least {low}"
    if high is not None and size > high:
        yield f"{path} has {size} {unit}, expected at most {high}" if unit else f"{path} is {size}, at most {high}"


def _matches(pattern: str, value: str) -> bool:
    compiled = _compiled(pattern)
    return compiled is None or compiled.search(value) is not None


@functools.cache
def _compiled(pattern: str) -> "re.Pattern[str] | None":
    # Written for Java; the few that Python cannot read, by its Unicode classes, are not checked.
    try:
        return re.compile(pattern if pattern.startswith("^") else f"^(?:{pattern})$", re.DOTALL)
    except re.error:
        return None


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
