"""What there is of a project, as a table."""

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from itertools import islice

from . import models
from .project import Project
from .resources import (
    CONFIG,
    ENDPOINT,
    MODEL,
    NOTEBOOK,
    PROCESSING,
    SCHEDULE,
    TRAINING,
    TRANSFORM,
    TUNING,
    Kind,
    describe,
    owned,
)

KINDS = (NOTEBOOK, TRAINING, TUNING, TRANSFORM, PROCESSING, MODEL, CONFIG, ENDPOINT, SCHEDULE)
NEWEST = 20
"""Most of each kind that are shown: years of jobs are for AWS's console."""
HEADINGS = ("kind", "name", "status", "created (UTC)", "about")


@dataclass(frozen=True, slots=True)
class Row:
    """One resource."""

    kind: str
    """Word for its kind."""
    name: str
    """Its name; of a package its ARN."""
    status: str
    """Status, where it has one."""
    created: str
    """Minute of its creation."""
    about: str
    """What else matters: variants and weights, versions."""


def rows(project: Project, kinds: Sequence[Kind] = KINDS) -> Iterator[Row]:
    """What carries the project's tag, the newest of each kind, then the packages of its group."""
    for kind in kinds:
        for item in islice(owned(project.aws, kind, project.name), NEWEST):
            about = _variants(project, item[kind.name]) if kind is ENDPOINT else ""
            status = str(item.get(kind.status, ""))
            yield Row(kind.word, item[kind.name], status, _minute(item["CreationTime"]), about)
    for package in models.packages(project):
        arn, status = str(package["ModelPackageArn"]), str(package["ModelApprovalStatus"])
        yield Row("model package", arn, status, _minute(package["CreationTime"]), "")


def table(found: Sequence[Row]) -> str:
    """Rows as aligned columns under headings."""
    lines = [HEADINGS, *(astuple(row) for row in found)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    texts = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(text.rstrip() for text in texts)


def _variants(project: Project, name: str) -> str:
    variants = describe(project.aws, ENDPOINT, name).get("ProductionVariants", [])
    return ", ".join(
        f"{item['VariantName']} {item.get('CurrentWeight', 0):g}"
        + (f" on {item['CurrentInstanceCount']}" if "CurrentInstanceCount" in item else "")
        for item in variants
    )


def _minute(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
