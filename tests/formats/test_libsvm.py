import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from twofold.errors import FormatError
from twofold.formats import libsvm

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    "data",
    [
        b"1 1:0.5 3:2\n-1 2:1e-1\n0\n",
        b"+1 1:0.5 3:2 \n-1 2:1e-1\n0",
        b"1 1:.5 3:2.\r\n-1 2:+0.1\r\n0\r\n\r\n",
        b"1\t1:0.5  3:2 # a remark\n-1 2:1e-1\n0 # 9:9\n",
    ],
)
def test_rows_become_dense_in_every_usual_spelling(data):
    columns = libsvm.decode(data, 4)
    np.testing.assert_array_equal(columns["label"], [1, -1, 0])
    np.testing.assert_array_equal(columns["features"], np.float32([[0.5, 0, 2, 0], [0, 0.1, 0, 0], [0, 0, 0, 0]]))
    assert libsvm.width_of(data) == 3


def test_nothing_gives_no_rows():
    assert libsvm.decode(b" \n", 3)["features"].shape == (0, 3)
    assert libsvm.width_of(b"") == 0
    assert libsvm.width_of(b"1\n2\n") == 0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"1 1:1\n\n1 1:1\n", "^line 12 is empty"),
        (b"1 0:1\n", "^line 11: found index 0, expected indices from 1. Add one"),
        (b"1 1:1\n1 2:1 1:1\n", "^line 12: index 1 follows 2"),
        (b"1 2:1 2:1\n", "^line 11: index 2 follows 2"),
        (b"1 5:1\n", "^line 11: found index 5, expected at most 4, the number of features"),
        (b"1 99999999:1\n", "^line 11: found index 99999999, expected at most 4"),
        (b"1 1:nan\n", "^line 11: the value at index 1 is 'nan', expected a finite number"),
        (b"1 1:1e39\n", "^line 11: the value at index 1 is '1e39', too large for float32"),
        (b"1 1:\n", "^line 11: the value at index 1 is ''"),
        (b"cat 1:1\n", "^line 11: the label is 'cat'"),
        (b"1,2,3\n", "^line 11: the label is '1,2,3', .* It looks like CSV"),
        (b"1 2 3\n", "^line 11: found '2', expected INDEX:VALUE"),
        (b"1 1:2:3\n", "^line 11: the value at index 1 is '2:3'"),
        (b"1:1 2:2\n", "^line 11: the label is '1:1'"),
        (b"1 qid:3 1:1\n", "^line 11: 'qid:3' groups rows"),
        (b"1 1.5:3\n", "^line 11: found '1.5:3'"),
        (b"1 -1:3\n", "^line 11: found '-1:3'"),
        (b"1 1:\xff\n", "^line 11: the value at index 1"),
    ],
)
def test_a_mistake_is_refused_with_its_line(data, message):
    with pytest.raises(FormatError, match=message):
        libsvm.decode(data, 4, first_line=11)


def test_line_numbers_hold_beyond_the_first_block():
    good = b"1 1:0.25 2:0.5\n" * 50_000
    with pytest.raises(FormatError, match=r"^line 50001: index 1 follows 2"):
        libsvm.decode(good + b"1 2:1 1:1\n" + good, 2)
    assert max(len(block["label"]) for block in libsvm.blocks(good, 2)) < 20_000
    assert len(libsvm.decode(good + b"1 1:1 # odd\n" + good, 2)["label"]) == 100_001


def test_an_index_that_would_take_all_memory_is_refused():
    with pytest.raises(FormatError, match="found index 4000000000, expected at most 16777216"):
        libsvm.width_of(b"1 4000000000:1\n")
    with pytest.raises(FormatError, match="16777216 values are more than 268435456 values at once"):
        libsvm.decode(b"1\n" * 1000, 1 << 24)


@given(st.data())
def test_what_is_written_reads_back_bit_for_bit(data):
    rows, width = data.draw(st.integers(0, 5)), data.draw(st.integers(1, 5))
    features = data.draw(arrays(np.float32, (rows, width), elements=FLOATS | st.just(0.0)))
    label = data.draw(arrays(np.float32, rows, elements=FLOATS))
    columns = libsvm.decode(libsvm.encode(label, features), width)
    np.testing.assert_array_equal(columns["features"], features)
    np.testing.assert_array_equal(columns["label"], label)


@given(st.binary() | st.text(alphabet="0123456789.:-+e \t\r\n#,q").map(str.encode))
def test_any_bytes_are_rows_or_a_format_error(data):
    try:
        columns = libsvm.decode(data, 8)
        width = libsvm.width_of(data)
    except FormatError:
        return
    assert np.isfinite(columns["features"]).all()
    assert width <= 8


@given(st.lists(st.sampled_from(["1 ", "2:3", " 1:1", "\n", "+1", "-", " ", "4:.5", "#", "7"]), max_size=12))
def test_both_ways_to_read_agree(parts):
    data = "".join(parts).strip().encode()
    plain = libsvm._by_json(data)
    try:
        fields = libsvm._by_field(data, 1, None)
    except FormatError:
        return
    if plain is not None:
        for one, other in zip(plain, fields, strict=True):
            np.testing.assert_array_equal(one, other)


def test_plain_lines_are_read_at_once(monkeypatch):
    monkeypatch.setattr(libsvm, "_by_field", None)
    assert libsvm.decode(b"1 1:0.25 2:0.5 7:1 \n" * 100_000, 8)["features"].shape == (100_000, 8)
