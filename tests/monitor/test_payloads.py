"""Bodies of every content type that the server takes, together and one by one."""

import base64

import numpy as np
import pytest
from twofold.formats.table import FORMATS, IMAGE, MEDIA_TYPES, WRITTEN
from twofold.monitor.capture import Kind
from twofold.monitor.payloads import Reader


def read(content_type, encoding, bodies, is_text=lambda _place, _width: None):
    reader = Reader(is_text)
    return reader.read(Kind(content_type, encoding), bodies), reader


def numbers(rows):
    return np.column_stack(rows.columns).tolist()


BODIES = {
    "application/json": [b'{"instances": [[1, 2], [3, 4]]}', b"[[5, 6]]"],
    "text/csv": [b"1,2\n3,4\n", b"5,6"],
    "application/jsonlines": [b"[1, 2]\n[3, 4]\n", b'{"features": [5, 6]}'],
    **{
        name: [WRITTEN[name](np.array(rows, np.float32), None) for rows in ([[1, 2], [3, 4]], [[5, 6]])]
        for name in (
            "application/x-npy",
            "application/x-npz",
            "application/x-parquet",
            "application/x-recordio-protobuf",
        )
    },
    "text/libsvm": [b"1:1 2:2\n1:3 2:4\n", b"0 1:5 2:6"],
}


@pytest.mark.parametrize("media_type", sorted(set(MEDIA_TYPES) - set(IMAGE.media_types)))
def test_every_type_that_is_served_is_read(media_type):
    usual = next(entry.media_types[0] for entry in FORMATS if media_type in entry.media_types)
    bodies = [base64.b64encode(body).decode() for body in BODIES[usual]]
    found, reader = read(f"{media_type}; charset=utf-8", "BASE64", bodies)
    assert sum((numbers(rows) for rows in found), []) == [[1, 2], [3, 4], [5, 6]]
    assert reader.malformed == 0


def test_images_are_counted_as_what_is_not_read():
    found, reader = read("image/png", "BASE64", [base64.b64encode(b"anything").decode()])
    assert (found, reader.malformed) == ([], 1)
    assert "images" in reader.first_malformed


def test_text_that_is_captured_as_text():
    (rows,), _ = read("text/csv", "CSV", ["1,2\n", "3,4\n5,6\n"])
    assert (rows.rows, numbers(rows)) == (3, [[1, 2], [3, 4], [5, 6]])
    (rows,), _ = read("application/json", "JSON", ['{"inputs": [[1, 2]]}', '{"instances": [{"features": [3, 4]}]}'])
    assert numbers(rows) == [[1, 2], [3, 4]]


def test_one_flat_list_is_one_row():
    (rows,), _ = read("application/json", "JSON", ["[1, 2, 3]"])
    assert numbers(rows) == [[1, 2, 3]]


def test_nested_rows_are_flattened():
    (rows,), _ = read("application/json", "JSON", ["[[[1, 2], [3, 4]]]"])
    assert numbers(rows) == [[1, 2, 3, 4]]


def test_names_stay():
    (rows,), _ = read(
        "application/json", "JSON", ['{"instances": [{"age": 41, "city": "Bern"}, {"age": null, "city": null}]}']
    )
    assert rows.names == ["age", "city"]
    np.testing.assert_array_equal(rows.columns[0], [41, np.nan])
    assert rows.columns[1].to_pylist() == ["Bern", None]


def test_answers_have_their_labels():
    (rows,), _ = read("application/json", "JSON", ['{"predictions": [[0.1, 0.9]], "labels": ["cat"]}'])
    assert rows.names == ["prediction_0", "prediction_1", "label"]


def test_missing_values_and_quotes():
    (rows,), _ = read("text/csv", "CSV", ['1,,"a,b"', '2,nan,""'])
    np.testing.assert_array_equal(rows.columns[1], [np.nan, np.nan])
    assert rows.columns[2].to_pylist() == ["a,b", None]


def test_text_in_a_column_of_numbers_stays_text():
    (rows,), reader = read("text/csv", "CSV", ["1,2", "x,4"], lambda _place, _width: False)
    assert rows.columns[0].to_pylist() == ["1", "x"]
    assert reader.malformed == 0


def test_a_column_of_text_stays_text():
    (rows,), _ = read("text/csv", "CSV", ["007,1"], lambda place, _width: place == 0)
    assert rows.columns[0].to_pylist() == ["007"]


def test_broken_bodies_are_counted_and_the_others_read():
    found, reader = read("application/json", "JSON", ["[[1]]", "{", "[[2]]", "nothing", "[[3]]"])
    assert sorted(value for rows in found for row in numbers(rows) for value in row) == [1, 2, 3]
    assert reader.malformed == 2
    assert "no JSON" in reader.first_malformed
    _, reader = read("text/csv", "BASE64", ["!"])
    assert "no base64" in reader.first_malformed
    _, reader = read("image/gif", "BASE64", ["AAAA"])
    assert "'image/gif'" in reader.first_malformed


def test_rows_of_other_widths_are_tables_of_their_own():
    found, reader = read("text/csv", "CSV", ["1,2", "1,2,3", "4,5"])
    assert sorted(len(rows.columns) for rows in found) == [2, 2, 3]
    assert reader.malformed == 0
