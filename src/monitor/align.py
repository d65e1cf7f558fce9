"""Which feature of the baseline a value of a request is: by name, or by its place in the row."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..baseline.summary import Column, Floats

PREDICTION, PROBABILITY = "prediction", "probability"
"""Features of answers: the number or the class, and the probability of that class."""
LABEL = "label"
"""Usual name of the feature that a model is asked for."""
_NUMBER = r"^\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*$"
_MISSING = pa.array(["", "nan", "NaN", "null", "NULL", "None", "NA", "N/A"])


@dataclass(slots=True)
class Alignment:
    """Names and kinds of the values of requests; without a baseline the first request decides."""

    features: tuple[str, ...] = ()
    """All features of the baseline, in order."""
    label: str | None = None
    """The one of them that a request does not hold, because the model is asked for it."""
    texts: dict[str, bool] = field(default_factory=dict)
    """Whether a feature is text."""
    settled: bool = False
    """Whether it has been guessed what the label is."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Features that a request holds."""
        return tuple(name for name in self.features if name not in {self.label, PREDICTION, PROBABILITY})

    def names(self, width: int) -> Sequence[str]:
        """Name the values of a row by their places.

        A row as wide as the whole baseline has the label, too. What is left over is named as the platform names it.
        """
        if self.label is None and not self.settled:
            asked = [name for name in self.features if name not in {PREDICTION, PROBABILITY}]
            self.label, self.settled = guess_label(asked, width), True
        inputs = self.inputs
        known = self.features if width == len(self.features) and width > len(inputs) else inputs
        return [*known[:width], *(f"_c{place}" for place in range(len(known), width))]

    def is_text(self, name: str) -> bool | None:
        """Whether a feature is text; None where nothing is known yet."""
        return self.texts.get(name)

    def columns(self, name: str, values: Column) -> list[Column]:
        """Values as what the feature is: one column, or two where a feature of numbers has text in it."""
        text = self.texts.setdefault(name, not isinstance(values, np.ndarray))
        if isinstance(values, np.ndarray):
            return [_as_text(values)] if text else [values]
        return [values] if text else _numbers_and_texts(values)


def guess_label(features: Sequence[str], width: int | None = None) -> str | None:
    """Guess which feature a model is asked for: `label`, or the first where a request has one value less."""
    if LABEL in features:
        return LABEL
    return features[0] if features and width is not None and width == len(features) - 1 else None


def _as_text(values: Floats) -> pa.StringArray:
    """Numbers as text, whole ones without a point."""
    return pa.array([None if np.isnan(value) else f"{value:.9g}" for value in values.tolist()], pa.string())


def _numbers_and_texts(values: pa.StringArray) -> list[Column]:
    """Take numbers out of a column that is text because some of it is no number."""
    present = pc.if_else(pc.is_in(values, value_set=_MISSING), pa.scalar(None, pa.string()), values)
    fits = pc.match_substring_regex(present, _NUMBER)
    missing = present.null_count
    numbers = pc.cast(pc.utf8_trim_whitespace(present.filter(fits)), pa.float64()).to_numpy(zero_copy_only=False)
    rest = present.filter(pc.invert(fits))
    found: list[Column] = [np.concatenate([numbers, np.full(missing, np.nan)])]
    return [*found, rest] if len(rest) else found
