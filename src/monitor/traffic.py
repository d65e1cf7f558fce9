"""Captured traffic summed up hour by hour, in one pass; parts of several hosts are merged."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..baseline.summary import Block, Column, Summary
from .align import LABEL, Alignment
from .answers import read_answers
from .capture import Captured
from .observations import read_observations
from .payloads import Reader, Rows
from .quality import Problem, Quality


@dataclass(slots=True)
class Traffic:
    """What was asked and answered."""

    hours: dict[str, Summary] = field(default_factory=dict)
    """By the hour, e.g. `2022-02-14T17`."""
    quality: dict[str, Quality] = field(default_factory=dict)
    """By the hour, where ground truth was there."""
    lines: int = 0
    malformed: int = 0
    """Lines and bodies that could not be read."""
    first_malformed: str | None = None

    def whole(self) -> Summary:
        """All hours together."""
        summary = Summary()
        for hour in sorted(self.hours):
            summary.merge(self.hours[hour])
        return summary

    def whole_quality(self) -> Quality:
        """How good answers were in all hours together."""
        found = Quality()
        for hour in sorted(self.quality):
            found.merge(self.quality[hour])
        return found

    def note(self, malformed: int, first: str | None) -> None:
        """Count what could not be read."""
        self.malformed += malformed
        self.first_malformed = self.first_malformed or first

    def merge(self, other: "Traffic") -> None:
        """Take in another host's part."""
        for hour, summary in other.hours.items():
            self.hours.setdefault(hour, Summary()).merge(summary)
        for hour, quality in other.quality.items():
            self.quality.setdefault(hour, Quality()).merge(quality)
        self.lines += other.lines
        self.note(other.malformed, other.first_malformed)

    def to_json(self) -> dict[str, Any]:
        """As JSON, without loss."""
        return {
            "hours": {hour: summary.to_json() for hour, summary in self.hours.items()},
            "quality": {hour: quality.to_json() for hour, quality in self.quality.items()},
            "lines": self.lines,
            "malformed": self.malformed,
            "first_malformed": self.first_malformed,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Traffic":
        """Undo `to_json`."""
        hours = {hour: Summary.from_json(part) for hour, part in content["hours"].items()}
        quality = {hour: Quality.from_json(part) for hour, part in content["quality"].items()}
        return cls(hours, quality, content["lines"], content["malformed"], content["first_malformed"])


def read_traffic(blocks: Iterable[Captured], alignment: Alignment, problem: Problem | None = None) -> Traffic:
    """Sum up captured lines."""
    traffic = Traffic()
    inputs = Reader(lambda place, width: alignment.is_text(alignment.names(width)[place]))
    outputs, truths = (Reader(lambda _place, _width: None) for _ in range(2))
    for captured in blocks:
        traffic.lines += captured.lines
        traffic.note(captured.malformed, captured.first_malformed)
        for group, bodies in captured.bodies.items():
            reader = inputs if group.side == "input" else outputs
            for rows in reader.read(group.kind, bodies):
                summary = traffic.hours.setdefault(group.hour, Summary())
                if group.side == "input":
                    add_inputs(summary, rows, alignment)
                else:
                    _add_answers(summary, rows, alignment)
        for found in read_observations(captured.labelled, outputs, truths):
            traffic.quality.setdefault(found.hour, Quality(problem)).add(found)
            summary = traffic.hours.setdefault(found.hour, Summary())
            _add(summary, {alignment.label or LABEL: found.truth}, 0, alignment)
    for reader in (inputs, outputs, truths):
        traffic.note(reader.malformed, reader.first_malformed)
    return traffic


def read_table(blocks: Iterable[tuple[Block, int]], alignment: Alignment, hour: str) -> Traffic:
    """Sum up rows of a batch transform, which all belong to one hour."""
    traffic = Traffic()
    for block, rows in blocks:
        traffic.lines += rows
        summary = traffic.hours.setdefault(hour, Summary())
        add_inputs(summary, Rows(list(block.values()), rows, list(block)), alignment)
    return traffic


def add_inputs(summary: Summary, rows: Rows, alignment: Alignment) -> None:
    """Take in rows of requests."""
    names = alignment.names(len(rows.columns)) if rows.names is None else rows.names
    _add(summary, dict(zip(names, rows.columns, strict=True)), rows.rows, alignment)


def _add_answers(summary: Summary, rows: Rows, alignment: Alignment) -> None:
    answers = read_answers(rows)
    if answers is not None:
        # Rows are counted once, with the requests.
        _add(summary, answers.block(), 0, alignment)


def _add(summary: Summary, block: Mapping[str, Column], rows: int, alignment: Alignment) -> None:
    parts: dict[str, Column] = {}
    texts: dict[str, Column] = {}
    for name, values in block.items():
        columns = alignment.columns(name, values)
        parts[name] = columns[0]
        if len(columns) > 1:
            texts[name] = columns[1]
    summary.add(parts, rows)
    summary.add(texts, 0)
