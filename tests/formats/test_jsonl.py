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
