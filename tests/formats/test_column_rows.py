"""Requests and answers in formats of named columns: what a client's own library writes is read, and the reverse."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twofold.errors import FormatError
from twofold.formats import aialgs, column_rows

ROWS = np.array([[1.5, -2, 3], [4, 0, 6]], np.float32)


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def parquet(columns):
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def recordio(**fields):
    return b"".join(aialgs.encode({name: column[row] for name, column in fields.items()}) for row in range(len(ROWS)))


SOUND = {
    "npz, one array": (column_rows.decode_npz, npz(data=ROWS)),
    "npz, instances among others": (column_rows.decode_npz, npz(instances=ROWS, extra=np.zeros(2))),
    "npz, with labels": (column_rows.decode_npz, npz(label=np.arange(2), features=ROWS)),
    "recordio": (column_rows.decode_recordio, recordio(features=ROWS)),
    "recordio of training": (
        column_rows.decode_recordio,
        recordio(label=np.arange(2, dtype=np.float32), features=ROWS),
    ),
    "recordio, float64": (column_rows.decode_recordio, recordio(features=ROWS.astype(np.float64))),
    "parquet, lists": (column_rows.decode_parquet, parquet({"features": ROWS.tolist()})),
    "parquet, a column a value": (column_rows.decode_parquet, parquet({f"c{n}": ROWS[:, n] for n in range(3)})),
    "parquet of training": (
        column_rows.decode_parquet,
        parquet({"label": [0, 1], "a": ROWS[:, 0], "name": ["x", "y"], "b": ROWS[:, 1], "c": ROWS[:, 2]}),
    ),
    "libsvm": (column_rows.decode_libsvm, b"1 1:1.5 2:-2 3:3\n0 1:4 3:6\n"),
    "libsvm without labels": (column_rows.decode_libsvm, b"1:1.5 2:-2 3:3\n1:4 3:6"),
}


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.parametrize("shape", [(3,), None])
def test_rows_are_what_a_client_wrote(name, shape):
    decode, data = SOUND[name]
    found = decode(data, shape)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, ROWS)


@pytest.mark.parametrize("name", SOUND)
def test_rows_of_another_width_are_refused(name):
    decode, data = SOUND[name]
    with pytest.raises(FormatError, match=r"3 values, expected 2 values|expected an index from 1 to 2|index 3"):
        decode(data, (2,))


@pytest.mark.parametrize("name", [name for name in SOUND if "libsvm" not in name])
@pytest.mark.parametrize("cut", [1, 9, 30])
def test_what_is_cut_short_is_refused(name, cut):
    decode, data = SOUND[name]
    with pytest.raises(FormatError):
        decode(data[:-cut], (3,))


def test_rows_of_several_axes_keep_them():
    images = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    np.testing.assert_array_equal(column_rows.decode_npz(npz(x=images), (3, 4, 5)), images)
    np.testing.assert_array_equal(column_rows.decode_npz(npz(x=images.reshape(2, 60)), (3, 4, 5)), images)
    with pytest.raises(FormatError, match="rows of 3 x 4 x 5 values, expected 5 x 4 x 3 values"):
        column_rows.decode_npz(npz(x=images), (5, 4, 3))


@pytest.mark.parametrize(
    ("decode", "data", "message"),
    [
        (column_rows.decode_npz, npz(x=np.array([[1, np.nan, 2]])), r"row 0, value \[1\]: expected a finite number"),
        (column_rows.decode_parquet, parquet({"name": ["a", "b"]}), "Found the columns name, expected one with"),
        (column_rows.decode_parquet, parquet({"x": [[1.0, 2.0, 3.0], [1.0]]}), "rows of several shapes"),
        (
            column_rows.decode_recordio,
            aialgs.encode({"features": ROWS[0]}) + aialgs.encode({"other": ROWS[0]}),
            "record 1 has the fields features/other, record 0 features",
        ),
    ],
)
def test_mistakes_are_named(decode, data, message):
    with pytest.raises(FormatError, match=message):
        decode(data, (3,))


def test_answers_read_back_by_the_libraries_of_clients():
    values = np.array([[0.25, 0.75], [0.9, 0.1]], np.float32)
    with np.load(io.BytesIO(column_rows.encode_npz(values, [1, 0])), allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["predictions"], values)
        np.testing.assert_array_equal(arrays["labels"], [1, 0])
    with np.load(io.BytesIO(column_rows.encode_npz(values, ["cat", "dog"])), allow_pickle=False) as arrays:
        assert arrays.files == ["predictions"]
    table = pq.read_table(io.BytesIO(column_rows.encode_parquet(values, ["dog", "cat"])))
    assert table.column("labels").to_pylist() == ["dog", "cat"]
    np.testing.assert_array_equal(table.column("predictions").to_pylist(), values)
    data = np.frombuffer(column_rows.encode_recordio(values, [1, 0]), np.uint8)
    index = aialgs.index(data)
    first = aialgs.decode(memoryview(data.tobytes())[index.starts[0] : index.stops[0]])
    np.testing.assert_array_equal(first["label/score"], values[0])
    assert float(np.ravel(first["label/predicted_label"])[0]) == 1
    one = np.array([1.5, 2.5], np.float32)
    assert pq.read_table(io.BytesIO(column_rows.encode_parquet(one))).column("predictions").to_pylist() == [1.5, 2.5]
    assert len(aialgs.index(np.frombuffer(column_rows.encode_recordio(one), np.uint8))) == 2


@pytest.mark.parametrize("name", ["npz", "recordio", "parquet", "libsvm"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_bytes_are_rows_or_a_format_error(name, data):
    decode, sound = next(entry for title, entry in SOUND.items() if title.startswith(name))
    broken = bytearray(sound)
    for _ in range(data.draw(st.integers(0, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    broken = bytes(broken) if data.draw(st.booleans()) else data.draw(st.binary(max_size=200))
    try:
        rows = decode(broken, (3,))
    except FormatError:
        return
    assert rows.shape[1:] == (3,)
    assert np.isfinite(rows).all()
