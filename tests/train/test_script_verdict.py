"""Who is behind and whether that is proven, by stacks of our own making."""

import sysconfig
from pathlib import Path

import pytest
from twofold.train.script_verdict import RankState, behind, head, notice, proven, sentence
from twofold.train.stacks import Frame, Stacks

TORCH = str(Path(sysconfig.get_path("purelib")) / "torch")
C10D, LOADER = f"{TORCH}/distributed/distributed_c10d.py", f"{TORCH}/utils/data/dataloader.py"
HINT = " Set TWOFOLD_HANG_TIMEOUT (seconds; 0: never) if it may take that long."


def stack(*frames):
    return Stacks(tuple(Frame(file, line, name) for file, line, name in frames))


def collective(name="all_reduce", line=8):
    return stack((C10D, 99, name), ("/code/train.py", line, "step"))


SLEEPS = stack(("/code/train.py", 14, "recover"))
READS = stack((LOADER, 5, "_try_get_data"), ("/code/train.py", 3, "main"))
SAVES = stack((f"{TORCH}/distributed/checkpoint/filesystem.py", 5, "write"), ("/code/train.py", 3, "main"))
CALLED = stack(("/code/net.py", 3, "forward"), (f"{TORCH}/distributed/fsdp/x.py", 5, "forward"))
STILL = {"still_s": 400.0}
WAITING = RankState(collective(), **STILL)


@pytest.mark.parametrize(
    ("ranks", "who", "sure"),
    [
        ({0: WAITING, 1: RankState(SLEEPS)}, [1], True),
        # Ranks that ask each other again and again have turns.
        ({0: RankState(collective(), still_s=60), 1: RankState(SLEEPS)}, [1], False),
        ({0: RankState(SLEEPS, **STILL)}, [0], False),
        ({0: RankState(SAVES, **STILL)}, [0], False),
        ({0: RankState(CALLED, **STILL)}, [0], False),
        ({0: WAITING, 1: WAITING}, [], True),
        ({0: WAITING, 1: RankState(ended=True)}, [1], True),
        ({0: RankState(SLEEPS, **STILL), 1: RankState(ended=True)}, [1], False),
        ({0: WAITING, 1: RankState(SLEEPS), 2: RankState(collective(), stopped_s=61)}, [2], True),
        ({0: RankState(READS)}, [0], False),
        ({0: RankState(READS, worker=Frame("/code/data.py", 4, "get"), worker_still_s=3)}, [0], False),
        ({0: RankState(READS, worker=Frame("/code/data.py", 4, "get"), worker_still_s=300)}, [0], True),
        ({0: RankState(stack((f"{TORCH}/autograd/graph.py", 1, "_engine_run_backward")), **STILL)}, [], True),
        ({0: RankState(Stacks(), **STILL)}, [0], False),
    ],
)
def test_who_is_behind_and_whether_they_wait_in_vain(ranks, who, sure):
    assert behind(ranks) == who
    assert proven(ranks, 300.0) is sure


@pytest.mark.parametrize(
    ("ranks", "text"),
    [
        (
            {0: WAITING, 1: RankState(SLEEPS)},
            (
                "user code: rank 1 hung: no output and no work for 1800 s: it is at /code/train.py:14 in recover. "
                f"Waiting for it: rank 0, in all_reduce (/code/train.py:8 in step).{HINT}"
            ),
        ),
        (
            {0: RankState(SLEEPS)},
            (
                "user code: the script hung: no output and no work for 1800 s: it is at /code/train.py:14 in recover."
                f"{HINT}"
            ),
        ),
        (
            {0: WAITING, 1: RankState(collective(), stopped_s=61)},
            (
                "platform: rank 1 hung: its process was stopped (SIGSTOP) 61 s ago at /code/train.py:8 in step. "
                "Do not stop it, or start the job again. "
                "Waiting for it: rank 0, in all_reduce (/code/train.py:8 in step)."
            ),
        ),
        (
            {0: WAITING, 1: RankState(ended=True)},
            (
                "user code: rank 1 hung: no output and no work for 1800 s: it has ended without an error, before the "
                f"others had done with it. Waiting for it: rank 0, in all_reduce (/code/train.py:8 in step).{HINT}"
            ),
        ),
        (
            {0: WAITING, 1: WAITING, 2: RankState(collective("barrier", 12))},
            (
                "user code: ranks 0, 1, 2 hung: no output and no work for 1800 s: ranks 0, 1 in all_reduce "
                f"(/code/train.py:8 in step); rank 2 in barrier (/code/train.py:12 in step).{HINT}"
            ),
        ),
        (
            {0: RankState(READS, worker=Frame("/code/data.py", 4, "get"))},
            (
                "data: the script hung: no output and no work for 1800 s: it waits for data at /code/train.py:3 "
                f"in main, a worker of its DataLoader is at /code/data.py:4 in get.{HINT}"
            ),
        ),
        (
            {0: RankState()},
            (
                "platform: the script hung: no output and no work for 1800 s: it is nowhere known: its stack cannot be "
                f"read.{HINT}"
            ),
        ),
    ],
)
def test_the_rank_that_is_behind_is_named_with_its_line(ranks, text):
    assert sentence(ranks, 1800.0) == text


def test_what_may_be_no_hang_is_told_without_a_verdict():
    assert notice({0: WAITING, 1: RankState(SLEEPS)}, 300.0) == (
        "no output and no work for 300 s: rank 1: it is at /code/train.py:14 in recover. "
        "Waiting for it: rank 0, in all_reduce (/code/train.py:8 in step)."
    )


def test_the_head_of_a_stack_says_what_the_rank_does():
    assert head(0, WAITING) == "rank 0 waits in all_reduce (/code/train.py:8 in step)"
    assert head(1, RankState(SLEEPS)) == "rank 1 is at /code/train.py:14 in recover"
    assert head(1, RankState(SLEEPS, stopped_s=3.0)) == "rank 1, stopped (SIGSTOP), at /code/train.py:14 in recover"
    assert head(1, RankState(ended=True)) == "rank 1 has ended"
