import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twofold.errors import FormatError
from twofold.formats import header_csv

NAMES = ["age", "city", "income"]
DATA = b'41,"Bern, BE",5.5\r\n 7 ,"a ""b""",1e3\n3,,-.5\n\n'


@pytest.mark.parametrize(
    ("line", "names"),
    [
        (b"age,city,income\n1,2,3\n", NAMES),
        (b'\xef\xbb\xbfage,"city",income\r\n', NAMES),
        (b"age", ["age"]),
        (b'"a,b",c\n', ["a,b", "c"]),
        (b"1,2,3\n", None),
        (b"age,2\n", None),
        (b"age,\n", None),
        (b"age,age\n", None),
        (b"nan,x\n", None),
        (b"age;city\n", None),
        (b"1;2;3\n", None),
        (b"age\tcity\n", None),
        (b"1 1:2\n", None),
        (b"", None),
        (b'"a\nb",c\n', None),
        (b"\xff,a\n", None),
        (b"\x00,a\n", None),
        (b"a" * (1 << 21), None),
    ],
)
def test_a_first_line_is_a_header_when_every_field_could_be_a_name(line, names):
    assert header_csv.header(line) == names


def test_columns_of_numbers_and_of_text_are_told_apart_and_read():
    text = header_csv.text_columns(DATA, NAMES)
    assert text == {"city"}
    columns = header_csv.decode(DATA, NAMES, text)
    assert columns["city"] == ["Bern, BE", 'a "b"', ""]
    assert columns["age"].dtype == np.float32
    np.testing.assert_array_equal(columns["age"], [41, 7, 3])
    np.testing.assert_array_equal(columns["income"], [5.5, 1000, -0.5])


def test_numbers_alone_are_read():
    columns = header_csv.decode(b"1,2\n3,4\n", ["x", "y"], header_csv.text_columns(b"1,2\n3,4\n", ["x", "y"]))
    np.testing.assert_array_equal(columns["y"], [2, 4])
    assert columns["y"].flags.c_contiguous


def test_missing_values_do_not_make_a_column_text():
    assert header_csv.text_columns(b"1,a\nNA,b\n,c\n", ["x", "y"]) == {"y"}


def test_a_last_line_cut_short_does_no_harm():
    assert header_csv.text_columns(b'1,a\n2,"b', ["x", "y"]) == {"y"}


def test_nothing_gives_no_rows():
    for text in [(), {"x"}]:
        columns = header_csv.decode(b"\n", ["x", "y"], text)
        assert [len(column) for column in columns.values()] == [0, 0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"1,a\nx,b\n", r"^line 12, column 1 is 'x', expected a number\. The column is 'n'"),
        (b"1,a\n,b\n", "^line 12, column 1 is empty"),
        (b"1,a\n2\n", "^line 12 has 1 value, expected 2, one for each name"),
        (b"1,a\n\n2,b\n", "^line 12 is empty"),
        (b'1,a\n2,"b\nc"\n', "^line 12: .* Close every quote"),
        (b"1,a\n2,\xff\n", "^line 12 is not UTF-8"),
        (b"1,a\n1e39,b\n", "^line 12, column 1 is '1e39', too large"),
        (b"1,a\nnan,b\n", "^line 12, column 1 is 'nan', expected a finite number"),
    ],
)
def test_a_mistake_is_refused_with_its_line(data, message):
    with pytest.raises(FormatError, match=message):
        header_csv.decode(data, ["n", "t"], {"t"}, first_line=11)


@given(
    st.lists(
        st.tuples(
            st.floats(width=32, allow_nan=False, allow_infinity=False),
            st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])),
        ),
        min_size=1,
    )
)
def test_what_is_written_reads_back(rows):
    numbers, texts = [np.float32(number) for number, _ in rows], [f"x{text}" for _, text in rows]
    data = header_csv.encode({"n": np.array(numbers), "t": texts})
    head, _, body = data.partition(b"\n")
    assert header_csv.header(head) == ["n", "t"]
    columns = header_csv.decode(body, ["n", "t"], {"t"})
    np.testing.assert_array_equal(columns["n"], np.array(numbers))
    assert columns["t"] == texts


@given(st.binary() | st.text(alphabet='0123456789.,-eE\r\n \t"x').map(str.encode), st.booleans())
def test_any_bytes_are_columns_or_a_format_error(data, text):
    header_csv.header(data)
    try:
        header_csv.text_columns(data, ["a", "b"])
        columns = header_csv.decode(data, ["a", "b"], {"b"} if text else ())
    except FormatError:
        return
    assert np.isfinite(columns["a"]).all()
    assert len(columns["a"]) == len(columns["b"])
