import subprocess
import sys
import threading
from contextlib import closing
from functools import partial
from itertools import count, islice

import pytest
from twofold.stream.side_by_side import in_order

NAME = "side-by-side"


def run(jobs, threads=2, ahead=3):
    return in_order(iter(jobs), threads, ahead, NAME)


def alive():
    return [thread for thread in threading.enumerate() if thread.name == NAME]


def test_results_come_in_the_order_of_the_jobs_whichever_ends_first():
    second = threading.Event()

    def first():
        assert second.wait(60)
        return "first"

    def other():
        second.set()
        return "second"

    assert list(run([first, other, lambda: "third"])) == ["first", "second", "third"]


def test_jobs_are_taken_by_one_thread_at_a_time():
    """A generator that two threads enter at once raises."""
    assert list(run((partial(int, number) for number in range(5000)), threads=4, ahead=8)) == list(range(5000))


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_no_more_than_agreed_are_done_ahead(threads):
    taken, most = [], 0

    def jobs():
        for number in count():
            taken.append(number)
            yield lambda number=number: number

    with closing(run(jobs(), threads)) as results:
        for number in islice(results, 2000):
            most = max(most, len(taken) - number)
    # The one that was yielded last is one of them.
    assert 1 <= most <= 3


def test_an_error_of_a_job_is_raised_in_its_place():
    results = run([lambda: 1, lambda: 1 // 0, lambda: 3])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert not alive()


def test_an_error_in_taking_a_job_is_raised_in_its_place():
    def jobs():
        yield lambda: 1
        raise LookupError("no more")

    results = run(jobs())
    assert next(results) == 1
    with pytest.raises(LookupError, match="no more"):
        next(results)
    assert not alive()


def test_no_thread_outlives_a_reader_that_leaves_or_is_done():
    results = run(lambda: 1 for _ in range(100))
    assert next(results) == 1
    assert len(alive()) == 2
    results.close()
    assert not alive()
    assert list(run([lambda: 1])) == [1]
    assert not alive()


def test_a_program_ends_while_a_thread_waits_for_a_result():
    code = (
        "import threading\n"
        "from twofold.stream.side_by_side import in_order\n"
        "begun, left = threading.Event(), threading.Event()\n"
        "def job():\n"
        "    begun.set()\n"
        "    left.wait()\n"
        "    return 1\n"
        "def use():\n"
        "    for _ in in_order(iter([job] * 9), 2, 3, 'reader'): pass\n"
        "threading.Thread(target=use, daemon=True).start()\n"
        "begun.wait()\n"
        "left.set()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
