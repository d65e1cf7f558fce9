import json
import threading

import pytest
from twofold.serve.streams import BrokenStream, Stream


def parts(*values, closed=None):
    try:
        for value in values:
            if isinstance(value, Exception):
                raise value
            yield value
    finally:
        if closed is not None:
            closed.append(True)


def test_parts_are_made_when_they_are_asked_for():
    made = []
    stream = Stream((made.append(n) or str(n) for n in range(3)), threading.Lock(), lines=False)
    assert made == [0], "the first one decides the status"
    assert next(stream) == b"0"
    assert made == [0]
    assert list(stream) == [b"1", b"2"]


def test_nothing_is_an_answer_too():
    assert list(Stream(iter(()), threading.Lock(), lines=True)) == []


def test_an_error_before_the_first_part_can_still_be_told():
    with pytest.raises(ZeroDivisionError):
        Stream(parts(ZeroDivisionError()), threading.Lock(), lines=False)


def test_an_error_in_the_midst_is_told_in_the_stream_which_then_breaks(caplog):
    stream = Stream(parts("a", ZeroDivisionError("secret"), "b"), threading.Lock(), lines=False)
    assert next(stream) == b"a"
    error = json.loads(next(stream))["error"]
    assert error["code"] == 500
    assert "secret" not in error["message"]
    with pytest.raises(BrokenStream):
        next(stream)
    assert "secret" in caplog.text
    assert error["message"].split()[-4] in caplog.text


def test_the_generator_ends_with_the_client():
    closed = []
    stream = Stream(parts("a", "b", closed=closed), threading.Lock(), lines=False)
    stream.close()
    assert closed == [True]
    Stream(iter(["a list's iterator has nothing to close"]), threading.Lock(), lines=False).close()


def test_the_turn_is_held_only_while_a_part_is_made():
    turn = threading.Lock()
    seen = []
    stream = Stream((seen.append(turn.locked()) or "x" for _ in range(2)), turn, lines=False)
    assert not turn.locked()
    assert list(stream) == [b"x", b"x"]
    assert seen == [True, True]
    assert not turn.locked()
