import contextlib
import socket
import time

import pytest
from twofold.serve.board import BEAT, CONNECTIONS, STATE, STOPPING, Board
from twofold.serve.gateway.seats import Passage, Seats


@pytest.fixture
def seats():
    board, passage = Board(3), Passage(3)
    three = [Seats(board, passage, seat) for seat in range(3)]
    for seat in three:
        seat.open(time.monotonic())
    yield board, three
    for pair in passage.pairs:
        for end in pair:
            end.close()


@contextlib.contextmanager
def accepted(number):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        clients = [socket.create_connection(listener.getsockname()) for _ in range(number)]
        yield [listener.accept()[0] for _ in range(number)]
        for client in clients:
            client.close()


def test_connections_that_one_worker_accepts_are_shared_evenly(seats):
    board, (first, second, third) = seats
    with accepted(9) as sockets:
        kept = [sock for sock in sockets if not first.send(sock)]
        given = [second.receive(), third.receive()]
        assert [len(kept), *map(len, given)] == [3, 3, 3]
        assert [row[CONNECTIONS] for row in board.rows] == [3, 3, 3]
        assert all(address == "127.0.0.1" for taken in given for _, address in taken)
        second.closed()
        assert board.rows[1][CONNECTIONS] == 2
        for sock in [*kept, *(sock for taken in given for sock, _ in taken)]:
            sock.close()


@pytest.mark.parametrize(("field", "value"), [(STATE, STOPPING), (BEAT, -100.0)])
def test_who_stops_or_gives_no_sign_of_life_is_given_none(seats, field, value):
    board, (first, second, third) = seats
    board.rows[1][field] = value
    with accepted(4) as sockets:
        kept = [sock for sock in sockets if not first.send(sock)]
        given = third.receive()
        assert (len(kept), len(given)) == (2, 2)
        assert second.receive() == []
        for sock in [*kept, *(sock for sock, _ in given)]:
            sock.close()


def test_what_was_on_its_way_to_a_dead_worker_is_there_for_the_next(seats):
    board, (first, second, _) = seats
    with accepted(1) as (sock,):
        board.rows[0][CONNECTIONS] = 5
        board.rows[2][CONNECTIONS] = 5
        assert first.send(sock)
        board.free_seat(1)
        ((taken, _),) = second.receive()
        taken.close()
