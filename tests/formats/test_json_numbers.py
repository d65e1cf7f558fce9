"""The reader for long texts against the one that looks at each number."""

import concurrent.futures
import json
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twofold.errors import FormatError
from twofold.formats import json_numbers, json_rows

SHAPES = st.sampled_from([(1,), (3,), (2, 2), (1, 3, 2)])
PIECES = [b"[", b"]", b",", b"0", b"1.5", b"-2e-3", b"null", b"true", b'"', b"{", b"}", b" ", b"9" * 25, b"1e400", b":"]


def read(data, shape=(2,)):
    """Rows, or None, by the check of whole texts and by that of brackets that are far apart."""
    found = json_numbers.read_rows(data, json_rows.KEYS, shape)
    with mock.patch.multiple(json_numbers, _FAR=1, _LONG=0):
        by_brackets = json_numbers.read_rows(data, json_rows.KEYS, shape)
    np.testing.assert_array_equal(found, by_brackets)
    return found


def carefully(data, shape):
    """Rows, or None for what is refused."""
    with mock.patch.object(json_rows, "_MANY", float("inf")):
        try:
            return json_rows.decode_rows(data, shape)
        except FormatError:
            return None


@pytest.mark.parametrize(
    "text",
    [
        '{"instances": [[1, 2.5], [-3, 4e2]]}',
        '{"inputs":[[1,2.5],[-3,4E+2]]}',
        " [ [ 1 , 2.5 ] ,\r\n\t[ -3.0, 400 ] ] ",
    ],
)
def test_rows_are_read(text):
    rows = read(text.encode())
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, [[1, 2.5], [-3, 400]])


@pytest.mark.parametrize(
    "text",
    [
        '{"instances": [[1, 2]], "configuration": {}}',
        '{"instances": [[1, 2]], "instances": [[3, 4]]}',
        '{"rows": [[1, 2]]}',
        '{"instances": [{"features": [1, 2]}]}',
        '{"instances": [[1, 2], [3]]}',
        '{"instances": [[1], [2, 3]]}',
        '{"instances": [[[1, 2]]]}',
        '{"instances": [[1, 2], []]}',
        '{"instances": [1, 2]}',
        '{"instances": [[1, true]]}',
        '{"instances": [[1, null]]}',
        '{"instances": [[1, "2"]]}',
        '{"instances": [[1, 1e39]]}',
        '{"instances": [[1, 100000000000000000000000]]}',
        '{"instances": 5}',
        '{"instances": []}',
        "{}",
        "5",
        "[]",
        "[[1, 2]",
        "",
    ],
)
def test_anything_else_is_left_to_the_careful_reader(text):
    assert read(text.encode()) is None


@given(SHAPES, st.data())
def test_both_readers_agree_on_whatever_is_sent(shape, data):
    count = data.draw(st.integers(0, 3))
    number = st.integers(-(2**70), 2**70) | st.floats(width=32, allow_nan=False)
    values = data.draw(st.lists(number, min_size=count * int(np.prod(shape)), max_size=count * int(np.prod(shape))))
    body = np.array(values, dtype=object).reshape(count, *shape).tolist()
    text = json.dumps(data.draw(st.sampled_from([body, {"instances": body}])), indent=data.draw(st.none() | st.just(1)))
    sent = bytearray(text.replace("Infinity", "1e400").encode())
    for _ in range(data.draw(st.integers(0, 2))):
        place = data.draw(st.integers(0, len(sent)))
        sent[place : place + data.draw(st.integers(0, 3))] = data.draw(st.sampled_from(PIECES))
    found, expected = read(bytes(sent), shape), carefully(bytes(sent), shape)
    if found is not None:
        np.testing.assert_array_equal(found, expected)


def test_long_texts_are_read_by_it_and_say_the_same_when_they_are_wrong():
    body = {"instances": np.random.default_rng(1).normal(size=(400, 64)).tolist()}
    with mock.patch.object(json_rows.orjson, "loads", side_effect=AssertionError):
        rows = json_rows.decode_rows(json.dumps(body).encode(), (64,))
    np.testing.assert_array_equal(rows, np.array(body["instances"], np.float32))
    body["instances"][399][63] = None
    with pytest.raises(FormatError, match=r"^instances\[399\]\[63\]: null, expected a number"):
        json_rows.decode_rows(json.dumps(body).encode(), (64,))


def test_an_image_is_read_by_its_brackets_and_one_with_a_number_in_the_next_line_is_not():
    image = np.arange(3 * 64 * 64).reshape(3, 64, 64).tolist()
    with mock.patch.object(json_numbers, "_row_tokens", side_effect=json_numbers._row_tokens.__wrapped__) as tokens:
        rows = read(json.dumps([image]).encode(), (3, 64, 64))
        np.testing.assert_array_equal(rows, [image])
        image[1][6].insert(0, image[1][5].pop())
        assert read(json.dumps([image]).encode(), (3, 64, 64)) is None
    assert tokens.call_count <= 1


def test_threads_do_not_share_a_parser():
    bodies = [json.dumps([[number] * 500] * 4).encode() for number in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for _ in range(50):
            for number, rows in enumerate(pool.map(lambda body: read(body, (500,)), bodies)):
                assert (rows == number).all()
