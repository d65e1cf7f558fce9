import io
import logging
import math
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twofold.contract.logs import configure, metric_line, metric_regex
from twofold.errors import UserError

PREFIX = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
FINITE = st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_:./@-]{0,20}", fullmatch=True)


@pytest.fixture
def log():
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    stream = io.StringIO()
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


def test_one_line_with_rank_time_level_and_name(log):
    configure(logging.INFO, rank=0, stream=log)
    logging.getLogger("twofold.train.loop").info("epoch %d", 3)
    assert re.fullmatch(rf"\[rank 0\] {PREFIX} INFO train\.loop: epoch 3\n", log.getvalue())


def test_the_host_stands_before_the_rank_where_there_are_several(log):
    configure(logging.INFO, host="algo-2", rank=8, stream=log)
    logging.getLogger("twofold.train.loop").info("loss")
    configure(logging.INFO, host="algo-2", stream=log)
    logging.getLogger("twofold.train").info("parent")
    ranks, parent = log.getvalue().splitlines()
    assert re.fullmatch(rf"\[algo-2 rank 8\] {PREFIX} INFO train\.loop: loss", ranks)
    assert re.fullmatch(rf"\[algo-2\] {PREFIX} INFO train: parent", parent)


def test_no_rank_for_a_single_process_and_foreign_names_in_full(log):
    configure(logging.INFO, stream=log)
    logging.getLogger("some.library").warning("careful")
    assert re.fullmatch(rf"{PREFIX} WARNING some\.library: careful\n", log.getvalue())


def test_level_is_kept(log):
    configure(logging.WARNING, stream=log)
    logging.getLogger("twofold.x").info("quiet")
    assert log.getvalue() == ""


def test_second_call_replaces_the_first(log):
    configure(logging.INFO, stream=io.StringIO())
    configure(logging.INFO, rank=1, stream=log)
    logging.getLogger("twofold.x").info("once")
    assert log.getvalue().count("once") == 1


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\r", "\x0b", "\u2028"])
def test_every_line_of_a_message_has_the_prefix(log, separator):
    configure(logging.INFO, rank=2, stream=log)
    logging.getLogger("twofold.x").info("first%ssecond", separator)
    lines = log.getvalue().splitlines()
    assert [line.partition(" x: ")[2] for line in lines] == ["first", "second"]
    assert all(line.startswith("[rank 2] ") for line in lines)
    assert "\r" not in log.getvalue()


def test_every_line_of_a_traceback_has_the_prefix(log):
    configure(logging.INFO, rank=0, stream=log)
    try:
        int("broken")
    except ValueError:
        logging.getLogger("twofold.x").exception("failed")
    lines = log.getvalue().splitlines()
    assert len(lines) >= 4
    assert all(re.match(rf"\[rank 0\] {PREFIX} ERROR x: ", line) for line in lines)
    assert lines[-1].endswith("ValueError: invalid literal for int() with base 10: 'broken'")


def test_escape_sequences_are_dropped(log):
    configure(logging.INFO, stream=log)
    logging.getLogger("twofold.x").info("\x1b[1;31mred\x1b[0m train:loss=\x1b[32m0.5\x1b[K")
    assert log.getvalue().endswith("x: red train:loss=0.5\n")


def test_an_empty_message_is_still_a_line(log):
    configure(logging.INFO, stream=log)
    logging.getLogger("twofold.x").info("")
    assert log.getvalue().endswith(" INFO x: \n")


def test_lines_reach_a_pipe_before_the_process_ends():
    program = (
        "import logging, sys; from twofold.contract.logs import configure; configure(20);"
        "logging.getLogger('twofold.x').info('here'); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        line = child.stdout.readline()  # blocks forever if the line were kept back
        child.stdin.close()
        assert line.endswith(b"here\n")


def test_metric_line_as_the_readme_shows_it():
    assert (
        metric_line({"train:loss": 0.123, "validation:accuracy": 0.97}) == "train:loss=0.123 validation:accuracy=0.97"
    )
    assert metric_line({"a": 1234567.0, "b": 1e-7, "c": 0, "d": 12345678.9}) == "a=1234567 b=1e-07 c=0 d=1.234568e+07"
    assert metric_line({}) == ""


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_metrics_that_are_not_finite_are_refused(value):
    with pytest.raises(UserError, match=r"The metric train:loss is .*Expected a finite number.*learning_rate"):
        metric_line({"train:loss": value})


@pytest.mark.parametrize("name", ["", "two words", "a=b", "1st", "naïve", "x" * 256, "a\n"])
def test_names_that_would_hide_a_metric_are_refused(name):
    with pytest.raises(UserError, match="is no name for a metric"):
        metric_line({name: 1.0})
    with pytest.raises(UserError, match="is no name for a metric"):
        metric_regex(name)


@given(st.dictionaries(NAMES, FINITE, min_size=1, max_size=5))
def test_each_regex_finds_its_own_metric_in_a_line_of_the_log(values):
    line = f"[rank 0] 2026-09-01 12:00:00 INFO train.loop: {metric_line(values)}"
    for name, value in values.items():
        found = re.findall(metric_regex(name), line)
        assert [float(number) for number in found] == [float(f"{value:.7g}")]
        assert math.isclose(float(found[0]), value, rel_tol=1e-6, abs_tol=1e-300)


def test_a_regex_does_not_find_a_longer_name():
    line = metric_line({"validation:loss": 1.0, "loss": 2.0, "loss2": 3.0})
    assert re.findall(metric_regex("loss"), line) == ["2"]
    assert len(metric_regex("x" * 255)) <= 500


def test_characters_of_a_name_stand_for_themselves():
    assert re.search(metric_regex("a.b"), "axb=1") is None
