import threading

from twofold.serve.gateway.incoming import AHEAD, Incoming


def test_messages_come_in_order_and_end():
    incoming = Incoming(list)
    for message in ("a", b"b", ""):
        incoming.put(message)
    assert incoming.poll() == "a"
    incoming.end()
    assert not incoming.closed, "what has come is still there"
    assert list(incoming) == [b"b", ""]
    assert incoming.closed
    assert incoming.poll() is None


def test_who_waits_is_woken_by_the_end(until):
    incoming = Incoming(list)
    found = []
    thread = threading.Thread(target=lambda: found.append(list(incoming)))
    thread.start()
    until(lambda: incoming.hungry, "the thread waits")
    incoming.end()
    thread.join(30)
    assert found == [[]]


def test_a_client_that_has_gone_leaves_no_messages():
    incoming = Incoming(list)
    incoming.put("a")
    incoming.end(forget=True)
    assert list(incoming) == []


def test_reading_goes_on_once_there_is_room():
    drained = []
    incoming = Incoming(lambda: drained.append(True))
    while not incoming.full:
        incoming.put(b"x" * (AHEAD // 4))
    assert drained == []
    next(incoming)
    assert drained == [True]
    next(incoming)
    assert drained == [True], "said once"


def test_empty_messages_fill_it_too():
    incoming = Incoming(list)
    for _ in range(2000):
        incoming.put("")
    assert incoming.full
