import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from twofold.errors import FormatError
from twofold.formats import jsonl


@pytest.mark.parametrize(
    "data",
    [
        b"[1, 2]\n[3, 4]\n",
        b"[1, 2]\r\n[3, 4]\r\n\r\n",
        b'{"features": [1, 2]}\n{"data": {"features": {"values": [3, 4]}}}',
    ],
)
def test_each_line_is_a_row(data):
    np.testing.assert_array_equal(jsonl.decode_rows(data, (2,)), [[1, 2], [3, 4]])


def test_nothing_gives_no_rows():
    assert jsonl.decode_rows(b" \n", (2,)).shape == (0, 2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[1, 2]\n[1, 2\n3, 4]\n", "^line 2 is no JSON"),
        (b"[1, 2],\n[1, 2]\n", "^line 1 is no JSON"),
        (b"[1, 2]\n\n[3, 4]\n", "^line 2 is empty"),
        (b"[1, 2]\n[3]\n", "^line 2: 1 value, expected 2"),
        (b"[1, 2]\n[3, null]\n", r"^line 2\[1\]: null, expected a number"),
        (b"[1, 2]\n[3, Infinity]\n", "^line 2 is no JSON"),
        (b"7\n", "^line 1: 7, expected a list of 2 values"),
    ],
)
def test_a_mistake_is_refused_with_its_line(data, message):
    with pytest.raises(FormatError, match=message):
        jsonl.decode_rows(data, (2,))


@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 4), st.integers(1, 4)),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_answers_are_one_json_value_a_line_and_read_back_bit_for_bit(values):
    labels = list(range(len(values)))
    lines = [json.loads(line) for line in jsonl.encode(values, labels).splitlines()]
    assert [line["label"] for line in lines] == labels
    np.testing.assert_array_equal(np.array([line["prediction"] for line in lines], dtype=np.float32), values)


def test_single_numbers_have_no_list_around_them():
    assert jsonl.encode(np.array([1.5, 0.1], dtype=np.float32)) == b'{"prediction":1.5}\n{"prediction":0.1}\n'
    assert jsonl.encode(np.array([[1.5]], dtype=np.float32), ["x"]) == b'{"prediction":[1.5],"label":"x"}\n'
    assert jsonl.encode(np.empty(0, dtype=np.float32)) == b""


def test_objects_become_columns():
    columns = jsonl.decode_columns(
        b'{"x": 1, "v": [1, 2], "t": "a", "f": true, "r": [1]}\n'
        b'{"v": [3, 4.5], "x": 2.5, "t": "", "f": false, "r": [2, 3]}\r\n\n'
    )
    assert columns["t"] == ["a", ""]
    for name, expected in {"x": [1, 2.5], "v": [[1, 2], [3, 4.5]]}.items():
        assert columns[name].dtype == np.float32
        np.testing.assert_array_equal(columns[name], expected)
    assert columns["f"].tolist() == [True, False]
    assert [row.tolist() for row in columns["r"]] == [[1], [2, 3]]
    assert {row.dtype for row in columns["r"]} == {np.dtype(np.float32)}


def test_whole_numbers_and_numbers_with_a_point_have_one_type():
    assert jsonl.decode_columns(b'{"x": 1}')["x"].dtype == jsonl.decode_columns(b'{"x": 1.5}')["x"].dtype == np.float32


def test_a_value_that_no_column_holds_is_named_with_what_could_stand_there():
    for value in [b"null", b"{}", b'["a"]', b"[[1], [2, 3]]"]:
        with pytest.raises(FormatError, match=r"^line 1, 'x': .*, expected text, a number or an even list"):
            jsonl.decode_columns(b'{"x": ' + value + b"}\n")


def test_no_lines_give_no_columns():
    assert jsonl.decode_columns(b" \n") == {}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"x": 1}', "^line 12: the names x, expected an object with the names of line 11: x, y"),
        (b'{"x": 1, "y": 2, "z": 3}', "^line 12: the names x, y, z, expected"),
        (b"[1, 2]", "^line 12: no object, expected an object with the names of line 11"),
        (b"{", "^line 12 is no JSON"),
        (b"", "^line 12 is empty"),
        (b'{"x": null, "y": 2}', "^line 12, 'x': null, expected a number"),
        (b'{"x": "1", "y": 2}', "^line 12, 'x': \"1\", expected a number"),
        (b'{"x": {}, "y": 2}', "^line 12, 'x': {}, expected a number"),
        (b'{"x": 1e39, "y": 2}', "^line 12, 'x': .*, expected a number"),
        (b'{"x": 16777217, "y": 2}', "^line 12, 'x': a whole number beyond 16777216"),
        (b'{"x": 1, "y": [[1], [2, 3]]}', "^line 12, 'y': .*, expected a number"),
        (b'{"x": true, "y": 2}', "^line 12, 'x': true, expected a number"),
        (b'{"x": -9223372036854775808, "y": 2}', "^line 12, 'x': a whole number beyond"),
    ],
)
def test_a_mistake_in_an_object_is_refused_with_its_line(line, message):
    with pytest.raises(FormatError, match=message):
        jsonl.decode_columns(b'{"x": 1, "y": 2}\n' + line + b'\n{"x": 1, "y": 2}', first_line=11)


@given(
    st.lists(st.dictionaries(st.sampled_from("ab"), st.recursive(st.none() | st.integers() | st.text(), st.lists)))
    | st.lists(st.recursive(st.none(), st.lists))
)
def test_any_objects_are_columns_or_a_format_error(items):
    try:
        columns = jsonl.decode_columns("\n".join(map(json.dumps, items)).encode())
    except FormatError:
        return
    assert all(len(column) == len(items) for column in columns.values())


@given(st.binary())
def test_any_bytes_are_columns_or_a_format_error(data):
    try:
        jsonl.decode_columns(data)
    except FormatError:
        return
