"""A run of `monitor baseline`: one pass over training data, two files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError
from . import schema
from .quality import propose
from .statistics import constraints_of, statistics_of
from .summary import Summary

STATISTICS = "statistics.json"
CONSTRAINTS = "constraints.json"


def write_baseline(summary: Summary, folder: Path, quality: Mapping[str, Any] | None = None) -> None:
    """Write statistics, and what later traffic must be; `quality` are metrics of the model.

    Raises:
        DataError: there was no row.
    """
    if not summary.rows:
        raise DataError("The data has no row. Expected at least one to make a baseline of: correct the input.")
    folder.mkdir(parents=True, exist_ok=True)
    schema.write(folder / STATISTICS, statistics_of(summary).model_copy(update=dict(quality or {})))
    schema.write(folder / CONSTRAINTS, constraints_of(summary).model_copy(update=propose(quality or {})))
