import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from twofold.errors import FormatError
from twofold.formats import csv

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b"1,2\n3,4\n", [[1, 2], [3, 4]]),
        (b"1,2\n3,4", [[1, 2], [3, 4]]),
        (b"1,2\r\n3,4\r\n", [[1, 2], [3, 4]]),
        (b"1,2\n3,4\n\n \r\n", [[1, 2], [3, 4]]),
        (b" 1 ,\t2\n3, 4 \n", [[1, 2], [3, 4]]),
        (b"\xef\xbb\xbf1,2\n", [[1, 2]]),
        (b"5", [[5]]),
        (b"1\n2\n", [[1], [2]]),
        (b"+1,.5,1.,01,-1E-2,1e+2\n", [[1, 0.5, 1, 1, -0.01, 100]]),
        (b'"1","2.5"\n"3"," 4 "\n', [[1, 2.5], [3, 4]]),
    ],
)
def test_numbers_are_read_in_every_usual_spelling(data, rows):
    decoded = csv.decode(data)
    assert decoded.dtype == np.float32
    np.testing.assert_allclose(decoded, rows)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"age,height\n1,2\n", ["line 1, column 1", "'age'", "header line", "remove it"]),
        (b"1,2\n3,x\n", ["line 2, column 2", "'x'", "expected a number"]),
        (b"1,2\n3\n", ["line 2 has 1 value, expected 2"]),
        (b"1,2\n3,4,5\n", ["line 2 has 3 values, expected 2"]),
        (b"1,2\n\n3,4\n", ["line 2 is empty"]),
        (b"\n1,2\n", ["line 1 is empty"]),
        (b"1,2\n3,\n", ["line 2, column 2 is empty"]),
        (b"1,NaN\n", ["line 1, column 2", "'NaN'", "finite"]),
        (b"1,-inf\n", ["line 1, column 2", "'-inf'", "finite"]),
        (b"1,2\n1,1e39\n", ["line 2, column 2", "1e39", "float32"]),
        (b"1,2\n1,1e999\n", ["line 2, column 2", "1e999", "float32"]),
        (b"1;2;3\n", ["line 1", "';'", "commas"]),
        (b"1\t2\t3\n", ["line 1", "tabs", "commas"]),
        (b"1,1_000\n", ["column 2", "1_000"]),
        (b"1,0x10\n", ["column 2", "0x10"]),
        (b"1,2],[3,4\n", ["line 1, column 2", "2]"]),
        (b"1,\xff\n", ["line 1, column 2"]),
        ("1,\u0661\n".encode(), ["line 1, column 2"]),
        (b"1,2\r3,4\n", ["line 1, column 2"]),
    ],
)
def test_a_mistake_is_refused_with_its_place(data, words):
    with pytest.raises(FormatError) as error:
        csv.decode(data)
    for word in words:
        assert word in str(error.value)


def test_lines_count_from_the_one_given_and_a_later_text_is_no_header():
    with pytest.raises(FormatError, match=r"^line 101, column 1 is 'x', expected a number\.$"):
        csv.decode(b"1,2\nx,3\n", first_line=100)


def test_the_expected_columns_are_enforced_on_the_first_line():
    with pytest.raises(FormatError, match="line 1 has 2 values, expected 3"):
        csv.decode(b"1,2\n", columns=3)


def test_nothing_gives_no_rows():
    assert csv.decode(b"", columns=3).shape == (0, 3)
    assert csv.decode(b"\n\n").shape == (0, 0)


def test_rows_of_several_axes_are_read_in_c_order():
    np.testing.assert_array_equal(csv.decode_rows(b"1,2,3,4\n", (2, 2)), [[[1, 2], [3, 4]]])


def test_line_numbers_hold_beyond_the_first_block():
    good = b"0.25,0.5,0.75\n" * 50_000
    with pytest.raises(FormatError, match="line 50001 has 2 values, expected 3"):
        csv.decode(good + b"1,2\n" + good)
    with pytest.raises(FormatError, match="line 50001, column 3 is 'x'"):
        csv.decode(good + b"1,2,x\n" + good)
    with pytest.raises(FormatError, match="line 50001 is empty"):
        csv.decode(good + b"\n" + good)
    assert csv.decode(good + b'"1",2,3\n' + good).shape == (100_001, 3)


def test_a_line_longer_than_a_block_is_one_row():
    assert csv.decode(b",".join([b"0.125"] * 100_000) + b"\n").shape == (1, 100_000)


@given(arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 5)), elements=FLOATS))
def test_what_is_written_reads_back_bit_for_bit(values):
    decoded = csv.decode(csv.encode(values))
    np.testing.assert_array_equal(decoded, values)


def test_numbers_have_no_more_digits_than_they_need():
    assert csv.encode(np.array([0.1, 2.5], dtype=np.float32)) == b"0.1\n2.5\n"
    assert csv.encode(np.array([[0.1, 2.5]], dtype=np.float32)) == b"0.1,2.5\n"
    assert csv.encode(np.empty((0, 2), dtype=np.float32)) == b""


def test_values_that_are_not_finite_keep_their_place():
    assert csv.encode(np.array([[1, np.nan], [np.inf, -np.inf]], dtype=np.float32)) == b"1.0,nan\ninf,-inf\n"


@given(st.binary() | st.text(alphabet='0123456789.,-+eE\r\n \t"x;').map(str.encode))
def test_any_bytes_are_rows_or_a_format_error(data):
    try:
        rows = csv.decode(data)
    except FormatError:
        return
    assert np.isfinite(rows).all()
    assert rows.size <= len(data)
