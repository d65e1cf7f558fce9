"""`GET /metrics`: the numbers of all workers together, as Prometheus text. Any worker can tell them."""

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from .board import CONNECTIONS, FREE, IN_FLIGHT, STATE, Board
from .meter import OUTCOMES, ROWS, SECONDS, STAGES, bad_rows_of, batches_of, latency_of, outcomes_of

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Collector(Collector):
    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        """Add up the rows; called by the registry."""
        rows = self._board.rows
        requests = CounterMetricFamily("twofold_requests", "Answers by outcome, but those to /ping", labels=["outcome"])
        for name in OUTCOMES:
            requests.add_metric([name], sum(outcomes_of(row)[name] for row in rows))
        yield requests
        latency = HistogramMetricFamily(
            "twofold_request_seconds", "Time of a request from its last byte to its answer, by stage", labels=["stage"]
        )
        for stage, name in enumerate(STAGES):
            latency.add_metric([name], *_together(SECONDS, [latency_of(row, stage) for row in rows]))
        yield latency
        batches = HistogramMetricFamily("twofold_batch_rows", "Rows of a forward pass")
        batches.add_metric([], *_together(ROWS, map(batches_of, rows)))
        yield batches
        bad_rows = sum(map(bad_rows_of, rows))
        yield CounterMetricFamily("twofold_bad_rows", "Rows that could not be read and were answered by NaN", bad_rows)
        yield GaugeMetricFamily("twofold_connections", "Open connections", sum(row[CONNECTIONS] for row in rows))
        yield GaugeMetricFamily("twofold_in_flight", "Requests being answered", sum(row[IN_FLIGHT] for row in rows))
        yield GaugeMetricFamily("twofold_workers", "Worker processes", sum(float(row[STATE] != FREE) for row in rows))


def exposition(board: Board) -> bytes:
    """Write all numbers."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(board))
    return generate_latest(registry)


def _together(
    bounds: Sequence[float], histograms: Iterable[tuple[list[float], float]]
) -> tuple[list[tuple[str, float]], float]:
    """Add histograms up, each bucket with all below it, as Prometheus has them."""
    counts, total = [0.0] * (len(bounds) + 1), 0.0
    for buckets, values in histograms:
        counts = [one + other for one, other in zip(counts, buckets, strict=True)]
        total += values
    names = [*(f"{bound:g}" for bound in bounds), "+Inf"]
    return [(name, sum(counts[: place + 1])) for place, name in enumerate(names)], total
