import os
import time

from twofold.serve.board import BEAT, COUNTERS, FREE, SERVING, STATE, Board


def test_a_number_written_by_a_worker_is_seen_by_the_others():
    board = Board(2)
    child = os.fork()
    if child == 0:
        board.rows[1][COUNTERS] = 7.0
        os._exit(0)
    os.waitpid(child, 0)
    assert board.rows[1][COUNTERS] == 7.0


def test_seats_are_given_once_and_counters_outlive_their_worker():
    board = Board(2)
    assert [board.take_seat(), board.take_seat()] == [0, 1]
    board.rows[0][COUNTERS] = 3.0
    board.free_seat(0)
    assert board.rows[0][STATE] == FREE
    assert board.take_seat() == 0
    assert board.rows[0][COUNTERS] == 3.0


def test_only_who_serves_and_beats_is_alive():
    board = Board(3)
    for row in board.rows[:2]:
        row[STATE] = SERVING
    board.rows[0][BEAT] = time.monotonic()
    board.rows[1][BEAT] = time.monotonic() - 100
    assert board.alive() == [0]
