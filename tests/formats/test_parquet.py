import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twofold.errors import FormatError
from twofold.formats import parquet

ROWS = 100


def saved(columns, **options):
    file = io.BytesIO()
    pq.write_table(
        columns if isinstance(columns, pa.Table) else pa.table(columns), file, **{"row_group_size": 30} | options
    )
    return file.getvalue()


def opened(columns, **options):
    return parquet.open_file(saved(columns, **options))


def columns():
    rng = np.random.default_rng(0)
    return {
        "small": np.arange(ROWS, dtype=np.int8),
        "real": rng.random(ROWS, dtype=np.float32),
        "flag": np.arange(ROWS) % 3 == 0,
        "vector": rng.random((ROWS, 4), dtype=np.float32),
        "tensor": rng.random((ROWS, 2, 3)),
        "image": rng.integers(0, 256, (ROWS, 2, 3, 3), dtype=np.uint8),
        "text": [f"row {number}" for number in range(ROWS)],
        "raw": [bytes([number]) for number in range(ROWS)],
    }


def written(*parts):
    file = io.BytesIO()
    writer = parquet.Writer(file)
    for part in parts:
        writer.write(part)
    writer.close()
    return file.getvalue()


def equal(found, expected):
    assert found.keys() == expected.keys()
    for name, column in expected.items():
        if isinstance(column, np.ndarray):
            assert found[name].dtype == column.dtype
            np.testing.assert_array_equal(found[name], column)
            assert found[name].flags.writeable
        else:
            assert found[name] == column


@pytest.mark.parametrize("source", [bytes, memoryview, io.BytesIO, lambda data: np.frombuffer(data, np.uint8)])
def test_what_is_written_reads_back(source):
    halves = [{name: column[part] for name, column in columns().items()} for part in (slice(60), slice(60, None))]
    file = parquet.open_file(source(written(*halves)))
    assert (file.rows, file.group_rows, file.columns) == (100, (60, 40), tuple(columns()))
    equal(file.group(0), halves[0])
    equal(file.group(1), halves[1])
    equal(file.group(1, ["text", "small"]), {name: halves[1][name] for name in ("text", "small")})


def test_batches_are_pieces_of_a_group():
    file = opened({"x": np.arange(ROWS), "y": list(np.arange(ROWS * 3).reshape(ROWS, 3))})
    batches = list(file.batches(1, 8))
    assert [len(batch["x"]) for batch in batches] == [8, 8, 8, 6]
    np.testing.assert_array_equal(np.concatenate([batch["x"] for batch in batches]), np.arange(30, 60))
    np.testing.assert_array_equal(batches[1]["y"][0], [114, 115, 116])
    assert [batch.keys() for batch in file.batches(1, 20, ["y"])] == [{"y"}] * 2


def test_lists_of_several_lengths_stay_lists():
    column = opened({"x": [[1, 2], [], [3]]}).group(0)["x"]
    assert [list(row) for row in column] == [[1, 2], [], [3]]


def test_layers_around_values_are_taken_off():
    data = {
        "word": pa.array(["a", "b", "a"]).dictionary_encode(),
        "image": pa.array([{"bytes": b"1", "path": None}, {"bytes": b"2", "path": "x"}, {"bytes": b"3", "path": None}]),
        "half": pa.array(np.float16([1, 2, 3])),
    }
    found = opened(data).group(0)
    assert (found["word"], found["image"]) == (["a", "b", "a"], [b"1", b"2", b"3"])
    np.testing.assert_array_equal(found["half"], np.float16([1, 2, 3]))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([*range(40), None]), "row 40, column 'x': found a null, expected a value"),
        (pa.array([*map(str, range(40)), None]), "row 40, column 'x': found a null"),
        (pa.array([*[[0, 1]] * 40, None]), "row 40, column 'x': found a null,"),
        (pa.array([*[[0, 1]] * 40, [1, None]]), "row 40, column 'x': found a null inside"),
        (pa.array([*[[0, 1]] * 40, [1, None]], pa.list_(pa.int64(), 2)), "row 40, column 'x': found a null inside"),
        (pa.array([*[{"bytes": b""}] * 40, {"bytes": None}]), "row 40, column 'x': found a null"),
    ],
)
def test_a_null_is_refused_with_its_row(column, message):
    with pytest.raises(FormatError, match=message):
        opened({"x": column}).group(1)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1], pa.timestamp("us")),
        pa.array([{"a": 1}]),
        pa.array([["a"]]),
        pa.array([[[1]]]),
        pa.array([[(1, 2)]], pa.map_(pa.int8(), pa.int8())),
    ],
    ids=lambda column: str(column.type)[:12],
)
def test_a_column_that_no_model_takes_is_refused_unless_it_is_left_out(column):
    file = opened({"x": column, "y": [1]})
    with pytest.raises(FormatError, match=r"column 'x' holds .*, which no model takes\. Write numbers"):
        file.group(0)
    np.testing.assert_array_equal(file.group(0, ["y"])["y"], [1])


def test_a_column_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(FormatError, match="no column 'z'; the file has: x, y"):
        opened({"x": [1], "y": [2]}).group(0, ["x", "z"])


@pytest.mark.parametrize("data", [b"", b"PAR1", b"no" * 50, saved({"x": [1]})[:-1], saved({"x": [1]})[1:]])
def test_what_is_no_parquet_is_refused(data):
    with pytest.raises(FormatError):
        parquet.open_file(data).group(0)


@pytest.mark.parametrize("place", [100, 500, 900])
def test_a_flipped_bit_in_a_page_is_refused(place):
    data = bytearray(written({"x": np.random.default_rng(0).random(200)}))
    data[place] ^= 4
    with pytest.raises(FormatError, match=r"row 0 or after: .* The file is broken"):
        parquet.open_file(bytes(data)).group(0)


def test_two_columns_of_one_name_are_refused():
    file = io.BytesIO()
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"]), file)
    with pytest.raises(FormatError, match="Two columns have the same name"):
        parquet.open_file(file.getvalue())


def test_columns_that_do_not_fit_are_refused_by_the_writer():
    writer = parquet.Writer(io.BytesIO())
    writer.write({"x": np.arange(3)})
    for wrong in [{"x": np.ones(3)}, {"y": np.arange(3)}, {"x": np.ones((3, 2))}]:
        with pytest.raises(FormatError, match="Columns that do not fit the file"):
            writer.write(wrong)
    with pytest.raises(FormatError):
        parquet.Writer(io.BytesIO()).write({"x": np.arange(3), "y": np.arange(2)})
    writer.close()


def test_a_shape_that_does_not_fit_its_bytes_is_refused():
    field = pa.field("x", pa.binary(4), metadata={"twofold.shape": "2,3"})
    with pytest.raises(FormatError, match=r"rows of 4 bytes claim the shape \[2, 3\]"):
        opened(pa.table([pa.array([b"abcd"], pa.binary(4))], schema=pa.schema([field]))).group(0)


def test_a_file_of_no_rows_is_read():
    file = parquet.open_file(saved({"x": pa.array([], pa.int64())}))
    assert file.rows == 0


WHOLE = saved({"x": np.arange(40), "v": list(np.ones((40, 2))), "t": ["a"] * 40}, row_group_size=20)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4),
    st.integers(0, 20),
)
def test_broken_files_are_columns_or_a_format_error(changes, cut):
    data = WHOLE
    for place, change in changes:
        data = data[:place] + change + data[place + len(change) :]
    try:
        file = parquet.open_file(data[: len(data) - cut])
        for number in range(len(file.group_rows)):
            file.group(number)
    except FormatError:
        return
