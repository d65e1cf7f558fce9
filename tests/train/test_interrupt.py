import os
import signal

from twofold.train.interrupt import listening


def test_sigterm_raises_the_flag_and_nothing_else():
    with listening() as interrupt:
        assert not interrupt.raised
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupt.raised


def test_ctrl_c_is_the_parents():
    with listening() as interrupt:
        os.kill(os.getpid(), signal.SIGINT)
        assert not interrupt.raised


def test_handlers_are_as_before():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with listening():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
