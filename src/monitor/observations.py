"""Answers with what was true beside them, where ground truth has been merged into captured lines."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pyarrow as pa

from ..baseline.summary import Column
from .answers import Answers, read_answers
from .capture import Kind, Labelled
from .payloads import Reader, Rows

_TRUTH = "label"


@dataclass(frozen=True, slots=True)
class Observations:
    """Answers and truths of the same rows."""

    hour: str
    answers: Answers
    truth: Column


def read_observations(events: Sequence[Labelled], answers: Reader, truths: Reader) -> Iterator[Observations]:
    """Read answers and truths of the same events together; those that are no pairs are counted by the readers."""

    def alike(event: Labelled) -> tuple[str, Kind, Kind]:
        return event.hour, event.output_kind, event.truth_kind

    for _, group in groupby(sorted(events, key=alike), key=alike):
        yield from _pairs(list(group), answers, truths)


def _pairs(events: Sequence[Labelled], answers: Reader, truths: Reader) -> Iterator[Observations]:
    first = events[0]
    found = answers.read(first.output_kind, [event.output for event in events])
    truth = truths.read(first.truth_kind, [event.truth for event in events])
    # One row an event and all of one width: what was sent together was answered together. All else goes one by one.
    if len(found) == len(truth) == 1 and (len(events) == 1 or found[0].rows == truth[0].rows == len(events)):
        read = read_answers(found[0])
        if read is not None and found[0].rows == truth[0].rows:
            yield Observations(first.hour, read, _truth(truth[0]))
        elif len(events) == 1:
            truths.found(f"{truth[0].rows} values of ground truth for {found[0].rows} answers.")
    elif len(events) > 1:
        half = len(events) // 2
        yield from _pairs(events[:half], answers, truths)
        yield from _pairs(events[half:], answers, truths)


def _truth(rows: Rows) -> Column:
    named = dict(zip(rows.names, rows.columns, strict=True)) if rows.names else {}
    return named.get(_TRUTH, rows.columns[0])


def as_names(values: Column) -> list[str | None]:
    """Classes as text, whether they are names or indices."""
    if isinstance(values, np.ndarray):
        return [None if np.isnan(value) else f"{value:g}" for value in values.tolist()]
    texts: list[str | None] = pa.array(values).to_pylist()
    return texts
