"""How long a loop stays awake for the next request."""

import os
import select

import pytest
from twofold.serve.gateway.waiting import SELDOM, Waiting


class Epoll:
    """A real epoll that remembers how long it was to wait."""

    def __init__(self):
        self.real = select.epoll()
        self.asked = []

    def poll(self, seconds):
        self.asked.append(seconds)
        return self.real.poll(min(seconds, 0.001))

    def asleep(self, waiting, **named):
        """Whether a wait of half a second went to sleep, and whether it looked before."""
        self.asked.clear()
        waiting.wait(0.5, **named)
        return 0.5 in self.asked, 0 in self.asked


@pytest.fixture
def epoll():
    found = Epoll()
    yield found
    found.real.close()


@pytest.fixture
def pipe(epoll):
    """A pipe that is readable once something was written."""
    ends = os.pipe()
    epoll.real.register(ends[0], select.EPOLLIN)
    yield ends
    for end in ends:
        os.close(end)


def test_what_comes_at_once_is_waited_for_awake(epoll, pipe):
    waiting = Waiting(epoll, processors=2)
    os.write(pipe[1], b".")
    for _ in range(100):
        assert epoll.asleep(waiting, idle=True) == (False, True)


def test_after_tries_in_vain_it_sleeps_but_for_a_try_now_and_then(epoll, pipe):
    waiting = Waiting(epoll, processors=2)
    waits = [epoll.asleep(waiting, idle=True) for _ in range(1000)]
    assert all(slept for slept, _ in waits)
    tries = [place for place, (_, looked) in enumerate(waits) if looked]
    assert tries == [0, 2, 6, 14, 30, 62, 126, 254, 510]
    os.write(pipe[1], b".")
    for _ in range(SELDOM):
        epoll.asleep(waiting, idle=True)
    assert epoll.asleep(waiting, idle=True) == (False, True)
    os.read(pipe[0], 1)
    assert [epoll.asleep(waiting, idle=True)[1] for _ in range(3)] == [True, False, True]


@pytest.mark.parametrize(("processors", "idle"), [(1, True), (2, False)])
def test_it_sleeps_at_once_where_it_would_only_be_in_the_way(epoll, pipe, processors, idle):
    waiting = Waiting(epoll, processors=processors)
    os.write(pipe[1], b".")
    assert epoll.asleep(waiting, idle=idle) == (True, False)


def test_a_look_is_only_a_look(epoll, pipe):
    waiting = Waiting(epoll, processors=2)
    assert waiting.wait(0, idle=True) == []
    assert epoll.asked == [0]
    os.write(pipe[1], b".")
    assert waiting.wait(0, idle=True) == [(pipe[0], select.EPOLLIN)]
