"""Who of several dead ranks was the first."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest
from twofold.train.agent import ends
from twofold.train.culprit import End, culprit
from twofold.train.exits import Exits
from twofold.train.supervise import children

TERM, KILL, SEGV, ABRT = -signal.SIGTERM, -signal.SIGKILL, -signal.SIGSEGV, -signal.SIGABRT
STAMPS, EXACT = 5.0, 0.02


@dataclass
class Failure:
    """What is read of torchrun's ProcessFailure, whose constructor looks at files."""

    exitcode: int
    timestamp: int
    pid: int = -1


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
def test_by_torchruns_stamps_a_killed_rank_goes_before_the_peers_that_lost_it(failures, rank):
    found = {number: Failure(*failure) for number, failure in failures.items()}
    assert culprit(*ends(found, Exits(2, children))).rank == rank


@pytest.mark.parametrize(
    ("failures", "rank"),
    [
        ({0: (ABRT, 100.4), 1: (9, 100.0)}, 1),
        ({0: (1, 100.0), 1: (9, 100.3)}, 0),
        ({0: (1, 100.001), 1: (KILL, 100.0)}, 1),
        ({0: (1, 100.0), 1: (KILL, 100.001)}, 1),
        ({0: (TERM, 100.0), 1: (9, 100.0)}, 1),
    ],
)
def test_by_the_instant_a_peer_that_gave_up_later_is_not_the_cause(failures, rank):
    assert culprit([End(number, *failure) for number, failure in failures.items()], EXACT).rank == rank


def test_the_order_of_real_ends_is_seen_without_collecting_them():
    code = "import sys; sys.stdin.read(); sys.exit(3)"
    ranks = [subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) for _ in range(3)]
    try:
        exits = Exits(3, lambda _: [rank.pid for rank in ranks]).start()
        for rank in (ranks[2], ranks[0], ranks[1]):
            rank.stdin.close()
            end = time.monotonic() + 30
            while exits.time(rank.pid) is None:
                assert time.monotonic() < end
                time.sleep(0.01)
        assert exits.time(ranks[2].pid) < exits.time(ranks[0].pid) < exits.time(ranks[1].pid)
        assert exits.time(os.getpid()) is None
        assert [rank.wait(30) for rank in ranks] == [3, 3, 3], "they were left to their parent"
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()


@pytest.mark.parametrize("failed", [False, True])
def test_who_outlives_a_failure_is_killed_and_who_outlives_a_good_end_is_not(failed):
    """As a rank in native code is: it does not listen to SIGTERM."""
    ranks = [subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) for _ in range(3)]
    try:
        exits = Exits(3, lambda _: [rank.pid for rank in ranks], failed=lambda: failed, patience_s=0.1).start()
        ranks[0].communicate(b"\n")
        end = time.monotonic() + 30
        if failed:
            assert [rank.wait(30) for rank in ranks[1:]] == [KILL, KILL]
            while None in [exits.time(rank.pid) for rank in ranks]:
                assert time.monotonic() < end
                time.sleep(0.01)
        else:
            while exits.time(ranks[0].pid) is None:
                assert time.monotonic() < end
                time.sleep(0.01)
            with pytest.raises(subprocess.TimeoutExpired):
                ranks[1].wait(0.5)
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()
