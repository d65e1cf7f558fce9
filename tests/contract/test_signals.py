import os
import select
import signal

from twofold.contract import signals


def test_numbers_of_signals_can_be_waited_for_and_read():
    before = signal.getsignal(signal.SIGUSR1)
    with signals.as_bytes((signal.SIGUSR1, signal.SIGUSR2)) as reader:
        for number in (signal.SIGUSR2, signal.SIGUSR1):
            os.kill(os.getpid(), number)
            assert select.select([reader], [], [], 10)[0]
        assert os.read(reader, 10) == bytes((signal.SIGUSR2, signal.SIGUSR1))
    assert signal.getsignal(signal.SIGUSR1) is before
    assert signal.set_wakeup_fd(-1) == -1
