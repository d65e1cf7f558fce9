from prometheus_client.parser import text_string_to_metric_families
from twofold.serve.board import CONNECTIONS, Board
from twofold.serve.exposition import exposition
from twofold.serve.meter import Meter


def samples(board):
    families = text_string_to_metric_families(exposition(board).decode())
    found = [sample for family in families for sample in family.samples]
    return {(sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value for sample in found}


def test_the_numbers_of_all_workers_are_added():
    board = Board(3)
    for place, row in enumerate(board.rows):
        meter = Meter(row)
        for _ in range(place + 1):
            meter.answered(200, (0.004, 0.0, 0.0, 0.002, 0.0))
            meter.batch(4)
        row[CONNECTIONS] = 10
    board.take_seat()
    found = samples(board)
    assert found["twofold_requests_total", "ok"] == 6
    assert found["twofold_requests_total", "refused"] == 0
    assert found["twofold_request_seconds_bucket", "0.0025", "total"] == 0
    assert found["twofold_request_seconds_bucket", "0.005", "total"] == 6
    assert found["twofold_request_seconds_bucket", "+Inf", "total"] == 6
    assert found["twofold_request_seconds_count", "model"] == 6
    assert abs(found["twofold_request_seconds_sum", "total"] - 0.024) < 1e-9
    assert found["twofold_batch_rows_bucket", "2"] == 0
    assert found["twofold_batch_rows_bucket", "4"] == 6
    assert found["twofold_batch_rows_sum",] == 24
    assert found["twofold_connections",] == 30
    assert found["twofold_workers",] == 1
