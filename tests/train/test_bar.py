import io
import logging
import sys

import pytest
from rich.console import Console
from twofold.contract import logs
from twofold.train.bar import Bar


@pytest.fixture
def root():
    """The root logger as it was, once the test is over."""
    logger = logging.getLogger()
    before, level = list(logger.handlers), logger.level
    yield logger
    logger.handlers[:] = before
    logger.setLevel(level)


def test_lines_go_above_the_bar_and_to_stdout_again_when_it_is_gone(root, monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stdout", terminal)
    logs.configure(logging.INFO)
    bar = Bar(Console(file=terminal, force_terminal=True, width=100, color_system=None))
    bar.show(3, 10, 1)
    assert sys.stdout is not terminal
    logging.getLogger("twofold.train").info("a line")
    bar.show(7, 10, 2)
    bar.close()
    logging.getLogger("twofold.train").info("after it")
    bar.close()
    assert sys.stdout is terminal
    shown = terminal.getvalue()
    assert "INFO train: a line\n" in shown
    assert " 7/10 " in shown
    assert "epoch 2" in shown
    assert shown.endswith("INFO train: after it\n")
