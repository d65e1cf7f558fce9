import pytest
from twofold.serve.board import COUNTERS, ROW, Board
from twofold.serve.meter import (
    OUTCOMES,
    ROWS,
    SAMPLES,
    SECONDS,
    STAGES,
    Meter,
    batches_of,
    latency_of,
    outcomes_of,
)

NOTHING = (0.0, 0.0, 0.0, 0.0)


@pytest.fixture
def row():
    return Board(1).rows[0]


def test_all_counters_fit_their_row():
    assert COUNTERS + len(OUTCOMES) + len(STAGES) * (len(SECONDS) + 2) + len(ROWS) + 2 <= ROW


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "ok"),
        (204, "ok"),
        (404, "client_error"),
        (499, "client_gone"),
        (500, "server_error"),
        (504, "server_error"),
        (503, "refused"),
    ],
)
def test_an_answer_counts_by_its_status(row, status, outcome):
    Meter(row).answered(status, (0.1, *NOTHING))
    assert {name: count for name, count in outcomes_of(row).items() if count} == {outcome: 1.0}


def test_seconds_and_rows_go_to_their_buckets(row):
    meter = Meter(row)
    for seconds in (0.0004, 0.0005, 0.02, 100.0):
        meter.answered(200, (seconds, 0.0, 0.0, 0.003, 0.0))
    meter.batch(1)
    meter.batch(9)
    meter.batch(100_000)
    buckets, total = latency_of(row, 0)
    assert [buckets[0], buckets[5], buckets[-1], sum(buckets)] == [2, 1, 1, 4]
    assert total == pytest.approx(100.0209)
    assert sum(latency_of(row, 1)[0]) == 0, "a stage that nobody passed"
    assert latency_of(row, 3)[1] == pytest.approx(0.012)
    buckets, total = batches_of(row)
    assert [buckets[0], buckets[4], buckets[-1], total] == [1, 1, 1, 100_010]


def test_a_successor_goes_on_counting(row):
    Meter(row).answered(200, (0.1, *NOTHING))
    after = Meter(row)
    assert after.embedded(0, 1) is None, "what the one before counted it has told"
    after.answered(200, (0.1, *NOTHING))
    assert outcomes_of(row)["ok"] == 2
    assert after.embedded(0, 1)["Answers"] == 1


def test_a_line_for_cloudwatch_keeps_its_format(row):
    meter = Meter(row)
    for number in range(1000):
        meter.answered(200 if number % 2 else 400, (0.001 * number, 0.0, 0.0, 0.002, 0.0))
        meter.batch(3)
    line = meter.embedded(1_700_000_000_000, 7)
    (about,) = line["_aws"]["CloudWatchMetrics"]
    assert line["_aws"]["Timestamp"] == 1_700_000_000_000
    assert about["Namespace"] == "Twofold/Serving"
    for metric in about["Metrics"]:
        value = line[metric["Name"]]
        assert not isinstance(value, list) or 0 < len(value) <= SAMPLES
    assert (line["Requests"], line["Answers"], line["ClientErrors"]) == (1000, 500, 500)
    assert set(line["ModelTime"]) == {2.0}
    assert "QueueTime" not in line
    assert set(line["BatchRows"]) == {3.0}
    assert meter.embedded(0, 7) is None
