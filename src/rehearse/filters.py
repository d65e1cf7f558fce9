"""`DataProcessing` of a batch transform: JSONPath over input and output, and the two joined, record by record."""

import csv
import io
import json
from dataclasses import dataclass
from typing import Any

from jsonpath_ng.exceptions import JSONPathError
from jsonpath_ng.ext.parser import parse

from ..errors import ApiError, DataError
from .store import Document

CSV, JSON, JSON_LINES = "text/csv", "application/json", "application/jsonlines"
Value = Any
"""A JSON value, or the cells of a CSV line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What is done to each record before and after the model has seen it."""

    content_type: str
    """Type of the input: CSV, JSON or JSON Lines."""
    accept: str
    """Type of the answer."""
    before: str = "$"
    """JSONPath of what the model gets."""
    after: str = "$"
    """JSONPath of what is kept."""
    join: bool = False
    """Whether the input is put beside the answer."""

    @classmethod
    def of(cls, job: Document) -> "Filters | None":
        """Filters of a transform job, or None when it asks for none.

        Raises:
            ApiError: a path that cannot be read, or a type that cannot be filtered.
        """
        asked = job.get("DataProcessing")
        if not asked:
            return None
        kinds = job["TransformInput"].get("ContentType", ""), job["TransformOutput"].get("Accept", "")
        content_type, accept = (kind.partition(";")[0].strip() for kind in kinds)
        accept = accept or content_type
        for kind in (content_type, accept):
            if kind not in (CSV, JSON, JSON_LINES):
                raise ApiError(
                    f"DataProcessing with the type {kind!r}: expected {CSV}, {JSON} or {JSON_LINES}.",
                    code="ValidationException",
                )
        before, after = asked.get("InputFilter", "$"), asked.get("OutputFilter", "$")
        for path in (before, after):
            try:
                parse(path)
            except (JSONPathError, ValueError) as error:
                raise ApiError(f"The filter {path!r} cannot be read: {error}.", code="ValidationException") from error
        return cls(
            content_type=content_type,
            accept=accept,
            before=before,
            after=after,
            join=asked.get("JoinSource", "None") == "Input",
        )

    def into(self, record: bytes) -> bytes:
        """What the model gets of a record."""
        if self.before == "$":
            return record
        return _write(_select(self.before, _read(record, self.content_type)), self.content_type)

    def out(self, record: bytes, answer: bytes) -> bytes:
        """What is kept of a record and its answer."""
        value = _read(answer, self.accept)
        if self.join:
            value = _join(_read(record, self.content_type), value)
        return _write(_select(self.after, value), self.accept)


def _join(given: Value, answer: Value) -> Value:
    if isinstance(given, list) and isinstance(answer, list):
        return [*given, *answer]
    if isinstance(given, dict):
        return {**given, "SageMakerOutput": answer}
    return {"SageMakerInput": given, "SageMakerOutput": answer}


def _select(path: str, value: Value) -> Value:
    if path == "$":
        return value
    found = [match.value for match in parse(path).find(value)]
    # A path to one thing gives that thing; one with a slice, a union or a wildcard gives a list.
    several = isinstance(value, list) or any(mark in path for mark in ("*", ",", ":", ".."))
    return found if several else (found[0] if found else None)


def _read(text: bytes, kind: str) -> Value:
    try:
        if kind == CSV:
            return next(csv.reader(io.StringIO(text.decode())), [])
        return json.loads(text)
    except (ValueError, csv.Error) as error:
        raise DataError(f"A record is no {kind}: {error}. Correct the input, or the model's answer.") from error


def _write(value: Value, kind: str) -> bytes:
    if kind != CSV:
        return json.dumps(value).encode() + b"\n"
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(value if isinstance(value, list) else [value])
    return line.getvalue().encode()
