import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twofold.errors import FormatError
from twofold.formats.layout import Field, Layout, of_first, varint_size

ROW = np.dtype(
    [("head", "V3"), ("wide", "<f8", (2, 3)), ("big", ">i2"), ("flag", "?"), ("none", "f4", (0,)), ("tail", "V5")]
)
FIXED = ((0, b"abc"), (ROW.itemsize - 5, b"uvxyz"))


def laid(records, offset=0):
    fields = {
        name: Field(ROW[name].base, ROW[name].shape, ROW.fields[name][1]) for name in ("wide", "big", "flag", "none")
    }
    return Layout(offset, ROW.itemsize, records, fields, FIXED)


def table(records, seed=0):
    rng = np.random.default_rng(seed)
    rows = np.zeros(records, dtype=ROW)
    rows["head"], rows["tail"] = np.void(b"abc"), np.void(b"uvxyz")
    rows["wide"] = rng.normal(size=(records, 2, 3))
    rows["big"] = rng.integers(-9, 9, records)
    rows["flag"] = rng.integers(0, 2, records)
    return rows


@given(st.integers(0, 9), st.lists(st.integers(0, 29), max_size=40))
def test_a_batch_is_what_numpy_takes(offset, rows):
    rows = np.array(rows, dtype=np.int64)
    whole = table(30)
    buffer = np.frombuffer(bytes(offset) + whole.tobytes(), dtype=np.uint8)
    batch = laid(30, offset).gather(buffer, rows)
    assert list(batch) == ["wide", "big", "flag", "none"]
    for name, column in batch.items():
        np.testing.assert_array_equal(column, whole[name][rows])
        assert column.dtype.isnative
        assert column.dtype == ROW[name].base.newbyteorder("=")
        assert column.flags.c_contiguous
        assert column.flags.aligned
        assert column.flags.writeable


@given(st.integers(0, 9), st.sampled_from([1, 2, 4, 8]), st.lists(st.integers(0, 29), max_size=40))
def test_records_at_any_bytes_are_those_of_their_rows(offset, multiple, rows):
    """Strides that suit the types, and those that do not: what is copied in larger steps is the same."""
    row = np.dtype([("value", "<i8"), ("small", "<f4"), ("pad", f"V{multiple}")])
    fields = {name: Field(row[name], (), row.fields[name][1]) for name in ("value", "small")}
    whole = np.zeros(30, dtype=row)
    whole["value"], whole["small"] = np.arange(30) << 40, np.arange(30) / 7
    buffer = np.frombuffer(bytes(offset) + whole.tobytes(), dtype=np.uint8)
    layout, rows = Layout(offset, row.itemsize, 30, fields), np.array(rows, dtype=np.int64)
    batch = layout.gather_at(buffer, rows * row.itemsize + offset)
    for name in fields:
        np.testing.assert_array_equal(batch[name], whole[name][rows])
        assert batch[name].flags.aligned


def test_rows_beyond_the_shard_cannot_be_read():
    buffer = np.frombuffer(table(3).tobytes(), dtype=np.uint8)
    with pytest.raises(IndexError):
        laid(3).gather(buffer, np.array([3]))
    with pytest.raises(ValueError, match="size of buffer"):
        laid(4).gather(buffer, np.array([0]))


@pytest.mark.parametrize("record", [0, 4_095, 4_096, 9_999])
@pytest.mark.parametrize("at", [0, 2, ROW.itemsize - 5, ROW.itemsize - 1])
def test_the_first_record_of_another_structure_is_named(record, at):
    data = bytearray(table(10_000).tobytes())
    place = record * ROW.itemsize + at
    data[place] ^= 0x40
    data[-1] ^= 1
    buffer = np.frombuffer(bytes(data), dtype=np.uint8)
    layout = laid(10_000)
    layout.verify(buffer, 0, record)
    layout.verify(buffer, record + 1, 9_999)
    assert not layout.fits(buffer)
    assert layout.fits(buffer, record)
    start = record * ROW.itemsize
    with pytest.raises(FormatError, match=rf"^record {record} at byte {start}: found .* at byte {place}, expected "):
        layout.verify(buffer, 0, 10_000)


def test_payload_may_be_anything():
    whole = table(100)
    whole["wide"] = np.nan
    buffer = np.frombuffer(whole.tobytes(), dtype=np.uint8)
    laid(100).verify(buffer, 0, 100)
    assert laid(100).certain


def test_the_rest_of_the_first_record_is_structure():
    data = b"ab1234c" * 3
    fields = {"a": Field(np.dtype("<f4"), (), 2)}
    assert of_first(memoryview(data), 21, 7, fields).fixed == ((0, b"ab"), (6, b"c"))
    assert of_first(memoryview(data), 21, 7, fields, ((2, 0, 2),)).fixed == ((0, b"ab"), (6, b"c"))
    assert of_first(memoryview(data), 22, 7, fields) is None
    assert of_first(memoryview(data[:-1] + b"d"), 21, 7, fields) is None
    assert of_first(memoryview(data[:-1]), 21, 7, fields).records == 3


@pytest.mark.parametrize(
    ("data", "values", "size"),
    [
        (b"\x00\x7f", 2, 1),
        (b"\x80\x01\xff\x01", 2, 2),
        (b"\x80\x01\x01", 2, 0),
        (b"\x01\x80\x01\x01", 2, 0),
        (b"", 0, 0),
    ],
)
def test_varints_of_one_size(data, values, size):
    assert varint_size(data, values) == size
