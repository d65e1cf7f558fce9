import pytest
from twofold.serve.board import BEAT, BUSY_SINCE, READY, SERVING, STATE, STOPPING, Board
from twofold.serve.health import health

NOW = 1000.0


@pytest.fixture
def board():
    board = Board(3)
    for row in board.rows[:2]:
        row[STATE] = SERVING
        row[BEAT] = NOW - 1
    board.rows[1][READY] = 1
    return board


def test_all_is_well(board):
    board.rows[1][BUSY_SINCE] = NOW - 59
    assert (health(board, 0, NOW, 60).status, health(board, 0, NOW, 60).reason) == (200, "")


@pytest.mark.parametrize(
    ("seat", "field", "value", "reason"),
    [
        (0, STATE, STOPPING, "stopping"),
        (1, BUSY_SINCE, NOW - 61, "stuck: the model of worker 1 has been computing for 61 s, expected at most 60"),
        (1, BEAT, NOW - 61, "stuck: worker 1 gives no sign of life for 61 s"),
    ],
)
def test_what_is_wrong_is_named(board, seat, field, value, reason):
    board.rows[seat][field] = value
    found = health(board, 0, NOW, 60)
    assert found.status == 503
    assert found.reason.startswith(reason)


def test_another_that_stops_or_is_gone_and_an_own_beat_before_a_freeze_do_not_matter(board):
    board.rows[1][STATE] = STOPPING
    board.rows[2][BEAT] = 0
    board.rows[0][BEAT] = NOW - 1000
    assert health(board, 0, NOW, 60).status == 200


def test_a_worker_that_takes_the_place_of_a_dead_one_has_not_been_silent_for_ever(board):
    board.rows[1][BEAT] = 0
    assert health(board, 0, NOW, 60).status == 200


def test_it_is_loading_until_a_worker_is_ready(board):
    board.rows[1][READY] = 0
    assert health(board, 0, NOW, 60).reason == "loading: no worker has loaded the model yet"
    board.rows[0][READY] = 1
    assert health(board, 0, NOW, 60).status == 200
