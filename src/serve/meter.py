"""What a worker counts: answers, how long they took in each stage, batches. Kept in its row of the board.

Source: CloudWatch's embedded metric format (a metric has at most 100 values a line),
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import random
from bisect import bisect_left
from typing import Any

from .board import COUNTERS, Row

STAGES = ("total", "queue", "decode", "model", "encode")
OUTCOMES = ("ok", "client_error", "server_error", "refused", "client_gone")
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the buckets of latencies; one more has no bound."""
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
"""The same for the rows of a batch."""
SAMPLES = 100

_LATENCY = COUNTERS + len(OUTCOMES)
_LATENCY_SIZE = len(SECONDS) + 2
_BATCH = _LATENCY + len(STAGES) * _LATENCY_SIZE
_BAD_ROWS = _BATCH + len(ROWS) + 2
_OVERLOADED, _GONE = 503, 499


class Meter:
    """Counts into one row; only its worker writes."""

    def __init__(self, row: Row) -> None:
        self._row = row
        self._answers = _Reservoir()
        self._batches = _Reservoir()
        self._before = self._outcomes()
        self._bad_before = row[_BAD_ROWS]

    def answered(self, status: int, seconds: tuple[float, ...]) -> None:
        """Count an answer and its seconds in each of the stages; a stage that it did not pass has 0."""
        row = self._row
        row[COUNTERS + _outcome(status)] += 1
        for stage, value in enumerate(seconds):
            if value or stage == 0:
                base = _LATENCY + stage * _LATENCY_SIZE
                row[base + bisect_left(SECONDS, value)] += 1
                row[base + _LATENCY_SIZE - 1] += value
        self._answers.add(seconds)

    def batch(self, rows: int) -> None:
        """Count a batch."""
        self._row[_BATCH + bisect_left(ROWS, rows)] += 1
        self._row[_BATCH + len(ROWS) + 1] += rows
        self._batches.add((float(rows),))

    def bad_rows(self, number: int) -> None:
        """Count rows that were answered by NaN."""
        self._row[_BAD_ROWS] += number

    def embedded(self, milliseconds: int, worker: int) -> dict[str, Any] | None:
        """Write what happened since the last call as an embedded-metric object; None where nothing did."""
        outcomes = self._outcomes()
        counts = [now - before for now, before in zip(outcomes, self._before, strict=True)]
        self._before = outcomes
        if not any(counts):
            return None
        values: dict[str, tuple[str, Any]] = {"Requests": ("Count", int(sum(counts)))}
        names = ("Answers", "ClientErrors", "ServerErrors", "Refusals", "ClientsGone")
        values |= {name: ("Count", int(number)) for name, number in zip(names, counts, strict=True)}
        samples = self._answers.drain()
        for stage, name in enumerate(("Latency", "QueueTime", "DecodeTime", "ModelTime", "EncodeTime")):
            passed = [round(1000 * sample[stage], 3) for sample in samples if sample[stage] or stage == 0]
            if passed:
                values[name] = ("Milliseconds", passed)
        bad_rows, self._bad_before = self._row[_BAD_ROWS] - self._bad_before, self._row[_BAD_ROWS]
        if bad_rows:
            values["BadRows"] = ("Count", int(bad_rows))
        batches = [sample[0] for sample in self._batches.drain()]
        if batches:
            values["BatchRows"] = ("Count", batches)
        metrics = [{"Name": name, "Unit": unit} for name, (unit, _) in values.items()]
        about = {"Namespace": "Twofold/Serving", "Dimensions": [[]], "Metrics": metrics}
        line: dict[str, Any] = {"_aws": {"Timestamp": milliseconds, "CloudWatchMetrics": [about]}, "worker": worker}
        return line | {name: value for name, (_, value) in values.items()}

    def _outcomes(self) -> list[float]:
        return list(self._row[COUNTERS : COUNTERS + len(OUTCOMES)])


class _Reservoir:
    """An even sample of what came since it was last emptied."""

    def __init__(self) -> None:
        self._seen = 0
        self._kept: list[tuple[float, ...]] = []

    def add(self, sample: tuple[float, ...]) -> None:
        self._seen += 1
        if self._seen <= SAMPLES:
            self._kept.append(sample)
            return
        place = int(random.random() * self._seen)  # noqa: S311  statistics, no secret
        if place < SAMPLES:
            self._kept[place] = sample

    def drain(self) -> list[tuple[float, ...]]:
        kept, self._kept, self._seen = self._kept, [], 0
        return kept


def outcomes_of(row: Row) -> dict[str, float]:
    """Answers of a row by outcome."""
    return {name: row[COUNTERS + place] for place, name in enumerate(OUTCOMES)}


def latency_of(row: Row, stage: int) -> tuple[list[float], float]:
    """Buckets of a row's stage, not added up, and the sum of its seconds."""
    base = _LATENCY + stage * _LATENCY_SIZE
    return list(row[base : base + len(SECONDS) + 1]), row[base + _LATENCY_SIZE - 1]


def batches_of(row: Row) -> tuple[list[float], float]:
    """Buckets of a row's batches, not added up, and the sum of their rows."""
    return list(row[_BATCH : _BATCH + len(ROWS) + 1]), row[_BATCH + len(ROWS) + 1]


def bad_rows_of(row: Row) -> float:
    """Rows that were answered by NaN."""
    return row[_BAD_ROWS]


def _outcome(status: int) -> int:
    if status < 400:
        return 0
    if status == _OVERLOADED:
        return 3
    if status == _GONE:
        return 4
    return 1 if status < 500 else 2
