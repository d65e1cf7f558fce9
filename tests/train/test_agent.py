"""Who of several dead ranks was the first: torchrun's stamps are whole seconds."""

import signal
from dataclasses import dataclass

import pytest
from twofold.train.agent import culprit

TERM, KILL, SEGV = -signal.SIGTERM, -signal.SIGKILL, -signal.SIGSEGV


@dataclass
class Failure:
    """What is read of torchrun's ProcessFailure, whose constructor looks at files."""

    exitcode: int
    timestamp: int


@pytest.mark.parametrize(
    ("failures", "rank"),
    [
        ({0: (1, 100)}, 0),
        ({0: (1, 100), 1: (KILL, 100)}, 1),
        ({0: (1, 100), 1: (KILL, 101)}, 1),
        ({0: (1, 100), 1: (TERM, 100)}, 0),
        ({0: (1, 100), 1: (KILL, 110)}, 0),
        ({0: (1, 101), 1: (2, 100), 2: (TERM, 101)}, 1),
        ({0: (TERM, 101), 1: (SEGV, 100), 2: (1, 100)}, 1),
        ({0: (KILL, 101), 1: (SEGV, 100)}, 1),
        ({0: (TERM, 100), 1: (TERM, 101)}, 0),
        ({0: (TERM, 100), 1: (9, 100)}, 1),
        ({0: (TERM, 100), 1: (9, 101)}, 1),
    ],
)
def test_a_killed_rank_goes_before_the_peers_that_lost_it(failures, rank):
    assert culprit({number: Failure(*failure) for number, failure in failures.items()})[0] == rank
