"""What a model answered, as two features: `prediction`, and its `probability` where a class was predicted."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..baseline.summary import Column, Floats
from .align import PREDICTION, PROBABILITY
from .payloads import Rows

_LABEL = "label"
_SCORES = f"{PREDICTION}_"


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers to some rows."""

    prediction: Column
    """A number, or a class: its name where the answer has names, else its index."""
    scores: Floats | None
    """Probabilities of the classes `[rows, classes]`."""

    def block(self) -> Mapping[str, Column]:
        """Features of the answers."""
        if self.scores is None:
            return {PREDICTION: self.prediction}
        return {PREDICTION: self.prediction, PROBABILITY: self.scores.max(axis=1)}


def read_answers(rows: Rows) -> Answers | None:
    """Read answers as our server writes them, or as plain numbers; None where there is no value.

    One value a row is the prediction; several are probabilities of classes, of which the largest names the class.
    """
    names = rows.names or [_SCORES] * len(rows.columns)
    named = dict(zip(names, rows.columns, strict=True)) if rows.names else {}
    scores = [
        column
        for name, column in zip(names, rows.columns, strict=True)
        if name.startswith(_SCORES) and isinstance(column, np.ndarray)
    ]
    table = np.column_stack(scores) if len(scores) > 1 and len(rows.columns) - len(scores) <= 1 else None
    if _LABEL in named:
        return Answers(named[_LABEL], table)
    if table is None:
        first = named.get(PREDICTION, rows.columns[0] if rows.columns else None)
        return None if first is None else Answers(first, None)
    index = np.where(np.isfinite(table).all(axis=1), table.argmax(axis=1), np.nan)
    return Answers(index, table)
