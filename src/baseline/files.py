"""The two files of a baseline."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError
from . import schema
from .schema import MetricConstraint
from .statistics import constraints_of, statistics_of
from .summary import Summary

STATISTICS = "statistics.json"
CONSTRAINTS = "constraints.json"


def write_baseline(
    summary: Summary,
    folder: Path,
    metrics: Mapping[str, Any] | None = None,
    bounds: Mapping[str, Mapping[str, MetricConstraint]] | None = None,
) -> None:
    """Write statistics, and what later traffic must be.

    Args:
        summary: of the data.
        folder: where to.
        metrics: of the model's quality, by the platform's name of their group.
        bounds: of these metrics.

    Raises:
        DataError: there was no row.
    """
    if not summary.rows:
        raise DataError("The data has no row. Expected at least one to make a baseline of: correct the input.")
    folder.mkdir(parents=True, exist_ok=True)
    schema.write(folder / STATISTICS, statistics_of(summary).model_copy(update=dict(metrics or {})))
    schema.write(folder / CONSTRAINTS, constraints_of(summary).model_copy(update=dict(bounds or {})))
