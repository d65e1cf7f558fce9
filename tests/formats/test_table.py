import numpy as np
import pytest
from sagemaker_inference import content_types
from twofold.formats import table


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("text/csv", "CSV"),
        ("Text/CSV; charset=utf-8; label_size=0", "CSV"),
        (" application/json;charset=UTF-8", "JSON"),
        ("application/jsonlines", "JSON Lines"),
        ("application/x-jsonlines", "JSON Lines"),
        ("application/x-npy", "NPY"),
        ("application/x-recordio-protobuf", "RecordIO-protobuf"),
        ("text/x-libsvm", "LibSVM"),
        ("image/jpeg", "an image"),
    ],
)
def test_content_types_are_found_whatever_their_case_and_parameters(header, name):
    assert table.by_media_type(header).name == name


@pytest.mark.parametrize("header", ["", "text", "text/csv2", "application/xml", "application/json, text/csv"])
def test_other_content_types_are_not(header):
    assert table.by_media_type(header) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.csv", "CSV"), ("A.CSV", "CSV"), ("a.jsonl", "JSON Lines"), ("a.json", "JSON"), ("a.npz", "NPZ")],
)
def test_files_are_found_by_their_ends(name, expected):
    assert table.by_suffix(name).name == expected


def test_other_files_are_not():
    assert table.by_suffix("csv") is None
    assert table.by_suffix("a.txt") is None


def test_the_toolkit_calls_the_shared_types_the_same():
    assert table.JSON.media_types[0] == content_types.JSON
    assert table.CSV.media_types[0] == content_types.CSV
    assert table.NPY.media_types[0] == content_types.NPY


@pytest.mark.parametrize("media_type", table.WRITTEN)
def test_every_encoder_takes_rows_or_numbers_with_or_without_labels(media_type):
    for values in (np.zeros((2, 3), np.float32), np.zeros(2, np.float32)):
        for labels in (None, [1, 2], ["a", "b"]):
            assert table.WRITTEN[media_type](values, labels)


def test_what_is_only_read():
    assert set(table.MEDIA_TYPES) - set(table.WRITTEN) == {*table.LIBSVM.media_types, *table.IMAGE.media_types}


@pytest.mark.parametrize("entry", [table.CSV, table.NPY, table.NPZ, table.PARQUET], ids=lambda entry: entry.name)
def test_formats_of_plain_numbers_read_what_they_write(entry):
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(entry.decode_rows(entry.encode(values, None), (3,)), values)
