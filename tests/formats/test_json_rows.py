import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twofold.errors import FormatError
from twofold.formats import json_rows, jsonl

ROWS = [[1, 2.5], [-3, 4e2]]
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["instances", "inputs", "data", "features", "values"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    "body",
    [
        {"instances": ROWS},
        {"inputs": ROWS},
        ROWS,
        {"instances": ROWS, "configuration": {}},
        {"instances": [{"features": row} for row in ROWS]},
        {"instances": [{"data": {"features": {"values": row}}} for row in ROWS]},
        {"instances": [{"features": {"keys": [], "shape": [], "values": row}} for row in ROWS]},
        {"instances": [ROWS[0], {"data": ROWS[1]}]},
    ],
)
def test_rows_are_found_in_every_documented_place(body):
    decoded = json_rows.decode_rows(json.dumps(body).encode(), (2,))
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded, ROWS)
    np.testing.assert_array_equal(json_rows.decode_rows(json.dumps(body).encode()), ROWS)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "no JSON"),
        (b"\xff", "no JSON"),
        (b'{"instances": [[1, NaN]]}', "no JSON.*without NaN"),
        (b'{"instances": [[1, 2]', "no JSON"),
        (b"{}", "keys: none"),
        (b'{"rows": [[1, 2]], "b": 1}', 'keys: b, rows. Expected "instances"'),
        (b"5", "body is 5, expected a list of rows"),
        (b'{"instances": "abc"}', 'instances is "abc", expected a list of rows'),
        (b'{"instances": {"a": 1}}', "instances is an object, expected a list of rows"),
        (b'{"instances": [1, 2]}', r"instances is one flat list of 2 values, .*\[\[...\]\]"),
        (b"[1, 2]", "body is one flat list of 2 values"),
        (b'{"instances": [[1, 2], [1, 2], [1]]}', r"^instances\[2\]: 1 value, expected 2"),
        (b"[[1, 2], [1, 2, 3]]", r"^body\[1\]: 3 values, expected 2"),
        (b'{"instances": [[1, 2], 3]}', r"^instances\[1\]: 3, expected a list of 2 values"),
        (b'{"instances": [[1, null]]}', r"^instances\[0\]\[1\]: null, expected a number"),
        (b'{"instances": [[1, "2"]]}', r'^instances\[0\]\[1\]: "2", expected a number'),
        (b'{"instances": [[true, 2]]}', r"^instances\[0\]\[0\]: true, expected a number"),
        (b'{"instances": [[[1], 2]]}', r"^instances\[0\]\[0\]: a list of 1, expected a number"),
        (b'{"instances": [[1, 2], [1, 1e39]]}', r"^instances\[1\]\[1\]: too large for float32"),
        (b'{"instances": [{"x": [1, 2]}]}', r"^instances\[0\]: an object with the keys: x"),
        (
            b'{"instances": [{"features": {"keys": [1], "values": [2], "shape": [9]}}]}',
            r"^instances\[0\]: a sparse row",
        ),
    ],
)
def test_a_mistake_is_refused_with_its_place(body, message):
    with pytest.raises(FormatError, match=message):
        json_rows.decode_rows(body, (2,))


def test_rows_of_several_axes_are_checked_inside():
    good = b'{"instances": [[[1, 2], [3, 4]]]}'
    np.testing.assert_array_equal(json_rows.decode_rows(good, (2, 2)), [[[1, 2], [3, 4]]])
    with pytest.raises(FormatError, match=r"^instances\[0\]\[1\]: 1 value, expected 2"):
        json_rows.decode_rows(b'{"instances": [[[1, 2], [3]]]}', (2, 2))
    with pytest.raises(FormatError, match=r"^instances\[0\]: 1 lists, expected 2"):
        json_rows.decode_rows(b'{"instances": [[[1, 2]]]}', (2, 2))


def test_a_long_text_is_not_copied_into_every_row():
    text = b'"' + b"x" * 1_000_000 + b'"'
    with pytest.raises(FormatError, match=r"^instances\[0\]\[0\]: \"xxx") as error:
        json_rows.decode_rows(b'{"instances": [[' + text + b",1]" + b",[1,2]" * 100_000 + b"]}", (2,))
    assert len(str(error.value)) < 200


def test_deep_nesting_is_refused():
    with pytest.raises(FormatError, match="nested deeper"):
        json_rows.decode_rows(b"[" * 900 + b"1" + b"]" * 900)


@given(st.binary() | JSON_VALUES.map(lambda value: json.dumps(value).encode()), st.sampled_from([None, (2,), (1, 2)]))
def test_any_bytes_are_rows_or_a_format_error(data, row_shape):
    for decode in (json_rows.decode_rows, jsonl.decode_rows):
        try:
            rows = decode(data, row_shape)
        except FormatError:
            continue
        assert np.isfinite(rows).all()
        assert row_shape is None or rows.shape[1:] == row_shape


def test_answers_have_labels_when_there_are_any():
    values = np.array([[0.1, 0.9], [0.75, 0.25]], dtype=np.float32)
    assert json_rows.encode(values, ["b", "a"]) == b'{"predictions":[[0.1,0.9],[0.75,0.25]],"labels":["b","a"]}'
    assert json_rows.encode(np.array([0.1, np.nan], dtype=np.float32)) == b'{"predictions":[0.1,null]}'
