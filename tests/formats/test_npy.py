import concurrent.futures
import gc
import io
import sys
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from twofold.errors import FormatError
from twofold.formats import npy


def saved(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def forged(header, values=b"", version=b"\x01\x00"):
    text = header.encode("latin-1")
    return npy.MAGIC + version + len(text).to_bytes(2 if version[0] == 1 else 4, "little") + text + values


@pytest.mark.parametrize("dtype", ["?", "i1", "u8", ">i4", "f2", "<f4", ">f4", "f8"])
def test_arrays_of_numbers_read_back(dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    np.testing.assert_array_equal(npy.decode(saved(array)), array)
    np.testing.assert_array_equal(npy.decode(saved(np.asfortranarray(array))), array)
    assert npy.decode_rows(saved(array)).dtype == np.float32


@given(arrays(np.float32, array_shapes(min_dims=0, max_dims=4, min_side=0), elements=st.floats(width=32)))
def test_what_is_written_reads_back_and_numpy_agrees(array):
    data = npy.encode(array)
    np.testing.assert_array_equal(npy.decode(data), array)
    np.testing.assert_array_equal(np.load(io.BytesIO(data), allow_pickle=False), array)


def test_the_header_is_enough_to_map_a_file(tmp_path):
    array = np.arange(12, dtype=">i2").reshape(3, 4)
    path = tmp_path / "array.npy"
    np.save(path, array)
    with path.open("rb") as file:
        header = npy.read_header(file.read(npy.PREFIX))
    assert header.size == array.nbytes
    mapped = np.memmap(path, dtype=header.dtype, mode="r", offset=header.offset, shape=header.shape)
    np.testing.assert_array_equal(mapped, array)
    mapped._mmap.close()


def test_version_two_reads_as_well():
    data = io.BytesIO()
    np.lib.format.write_array(data, np.ones(3, dtype=np.float32), version=(2, 0))
    np.testing.assert_array_equal(npy.decode(data.getvalue()), [1, 1, 1])


@pytest.mark.parametrize(
    "array",
    [
        np.array([{"a": 1}], dtype=object),
        np.array(["text"]),
        np.array([b"bytes"]),
        np.array([1 + 2j]),
        np.array(["2026-01-01"], dtype="datetime64[D]"),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f4")]),
    ],
    ids=lambda array: str(array.dtype),
)
def test_only_numbers_are_accepted(array):
    with pytest.raises(FormatError, match=r"expected numbers. Convert it"):
        npy.decode(saved(array, allow_pickle=True))


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04",
        npy.MAGIC,
        npy.MAGIC + b"\x01\x00\xff",
        forged(GOOD, b"\0" * 7),
        forged(GOOD, b"\0" * 9),
        forged(GOOD, b"\0" * 8, version=b"\x09\x00"),
        forged("{'descr': '<f4'}"),
        forged("[1, 2"),
        forged("__import__('os').getcwd()"),
        forged("[" * 5000),
        forged("-" * 9000 + "1"),
        forged(GOOD.replace("(2,)", "(-2,)")),
        forged(GOOD.replace("(2,)", "(True,)")),
        forged(GOOD.replace("(2,)", "2")),
        forged(GOOD.replace("(2,)", "(10**9,)")),
        forged(GOOD.replace("(2,)", "(1000000000000000, 1000)")),
        forged(GOOD.replace("(2,)", f"(0, {10**30})")),
        forged(GOOD.replace("(2,)", str((1,) * 65)), b"\0" * 4),
        forged(GOOD.replace("False", "0"), b"\0" * 8),
        forged("{[]: 1}"),
        forged(" " * 20_000, version=b"\x02\x00"),
    ],
)
def test_broken_files_are_refused(data):
    with pytest.raises(FormatError):
        npy.decode(data)


def test_a_header_that_claims_much_allocates_nothing():
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="cut short"):
            npy.decode(forged(GOOD.replace("(2,)", "(1000000000,)"), b"\0" * 8))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_rows_have_the_expected_shape():
    with pytest.raises(FormatError, match=r"shape \[3\], expected \[rows, 3\]. Even a single row"):
        npy.decode_rows(saved(np.zeros(3)), (3,))
    with pytest.raises(FormatError, match=r"shape \[2, 4\], expected \[rows, 3\]"):
        npy.decode_rows(saved(np.zeros((2, 4))), (3,))
    with pytest.raises(FormatError, match=r"shape \[\]"):
        npy.decode_rows(saved(np.float32(1)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_a_value_that_is_not_finite_is_refused_with_its_place(value):
    array = np.zeros((3, 2))
    array[2, 1] = value
    with pytest.raises(FormatError, match=r"array\[2, 1\] is .*, expected a finite number"):
        npy.decode_rows(saved(array), (2,))


@given(
    st.binary()
    | st.binary().map(npy.MAGIC.__add__)
    | st.tuples(st.text(), st.binary()).map(
        lambda parts: forged(parts[0].encode("latin-1", "replace").decode("latin-1"), parts[1])
    )
)
def test_any_bytes_are_an_array_or_a_format_error(data):
    try:
        array = npy.decode(data)
    except FormatError:
        return
    assert array.nbytes <= len(data)


@given(st.data())
def test_one_changed_byte_is_an_array_or_a_format_error(data):
    original = saved(np.ones((2, 3), dtype=np.float32))
    where = data.draw(st.integers(0, len(original) - 1))
    value = data.draw(st.integers(0, 255))
    changed = original[:where] + bytes([value]) + original[where + 1 :]
    try:
        array = npy.decode(changed)
    except FormatError:
        return
    assert array.nbytes <= len(changed)


@pytest.mark.parametrize("shape", [(5,), (5, 3), (5, 2, 3), (5, 0), (0, 3)])
@pytest.mark.parametrize("dtype", ["f4", ">f4", "i8", "?", "f2"])
def test_an_array_is_laid_out_by_its_first_axis(dtype, shape):
    array = np.random.default_rng(0).normal(size=shape).astype(dtype)
    data = saved(array)
    laid = npy.layout(memoryview(data)[: npy.PREFIX], len(data))
    rows = np.arange(shape[0])[::-1]
    batch = laid.gather(np.frombuffer(data, dtype=np.uint8), rows)["data"]
    np.testing.assert_array_equal(batch, array[::-1])
    assert batch.dtype.isnative
    assert (laid.records, laid.certain) == (shape[0], True)


def test_an_array_whose_rows_do_not_lie_together_is_not_laid_out():
    for array in (np.asfortranarray(np.zeros((3, 4))), np.array(1.0)):
        data = saved(array)
        assert npy.layout(memoryview(data), len(data)) is None


def test_a_file_of_another_size_than_its_header_says_is_refused():
    data = saved(np.zeros((3, 4)))
    with pytest.raises(FormatError, match="cut short"):
        npy.layout(memoryview(data), len(data) - 1)
    with pytest.raises(FormatError, match="followed by something else"):
        npy.layout(memoryview(data), len(data) + 1)


@pytest.fixture
def interrupted():
    """Threads take turns wherever the garbage collector may run."""
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()

    def give_way(*_):
        time.sleep(0)

    gc.callbacks.append(give_way)
    gc.set_threshold(20)
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)
    gc.set_threshold(*thresholds)
    gc.callbacks.remove(give_way)


@pytest.mark.usefixtures("interrupted")
@pytest.mark.parametrize("read", [npy.decode, lambda data: npy.load(io.BytesIO(data))], ids=["decode", "load"])
def test_threads_read_headers_side_by_side(read):
    arrays = [np.zeros((size, 2), np.float32) for size in range(400)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(read, map(saved, arrays)))
    assert [array.shape for array in found] == [array.shape for array in arrays]
