import io
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twofold.errors import FormatError
from twofold.formats import npz

ARRAYS = {
    "features": np.arange(12, dtype=np.float32).reshape(4, 3),
    "label": np.arange(4),
    "order": np.asfortranarray(np.ones((4, 2, 2), ">i2")),
}


def saved(save=np.savez, **arrays):
    file = io.BytesIO()
    save(file, **arrays)
    return np.frombuffer(file.getvalue(), np.uint8)


def zipped(files, **options):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return np.frombuffer(file.getvalue(), np.uint8)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("checksums", [False, True])
def test_arrays_read_back(save, checksums):
    arrays = npz.decode(saved(save, **ARRAYS), checksums=checksums)
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_stored_arrays_share_the_memory_of_the_file():
    buffer = saved(**ARRAYS)
    assert np.shares_memory(npz.decode(buffer)["features"], buffer)


def test_blocks_are_pieces_of_all_arrays():
    blocks = list(npz.blocks(saved(**ARRAYS), 3))
    assert [len(block["label"]) for block in blocks] == [3, 1]
    np.testing.assert_array_equal(np.concatenate([block["order"] for block in blocks]), ARRAYS["order"])


def test_what_is_written_numpy_reads_and_it_depends_on_nothing_else():
    data = npz.encode(ARRAYS)
    assert data == npz.encode(dict(ARRAYS))
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(arrays[name], array)


def flipped(buffer, place):
    buffer = buffer.copy()
    buffer[place] ^= 1
    return buffer


@pytest.mark.parametrize(
    ("buffer", "message"),
    [
        (np.frombuffer(b"", np.uint8), "No readable NPZ"),
        (saved(**ARRAYS)[:-1], "No readable NPZ"),
        (saved(**ARRAYS)[100:], "does not lie where|No readable NPZ"),
        (zipped([]), "The zip holds 'nothing'"),
        (zipped([("archive/data.pkl", b"")]), "The zip holds 'archive/data.pkl', expected NPY files only"),
        (zipped([("a.npy", b"no")], compression=zipfile.ZIP_LZMA), "compressed in a way that numpy never does"),
        (zipped([("a.npy", b"no")]), "array 'a.npy': Found b'no'"),
        (saved(a=np.array([{}], dtype=object)), "array 'a.npy': The array holds .* expected numbers"),
        (saved(a=np.ones(3), b=np.ones(4)), r"Found arrays a \[3\], b \[4\], expected the same number of rows"),
        (saved(a=np.array(3)), r"Found arrays a \[\]"),
        (flipped(saved(a=np.zeros(100)), 400), "array 'a.npy': its checksum does not fit"),
        (flipped(saved(np.savez_compressed, a=np.random.default_rng(0).random(100)), 400), "No readable NPZ: "),
    ],
)
def test_a_broken_file_is_refused(buffer, message):
    with pytest.raises(FormatError, match=message):
        npz.decode(buffer, checksums=True)


def test_a_zip_that_would_fill_the_memory_is_refused_before_it_is_unpacked(monkeypatch):
    monkeypatch.setattr(npz, "MAX_UNPACKED", 1 << 20)
    buffer = saved(np.savez_compressed, a=np.zeros(1 << 22, np.uint8))
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=r"claim 4194432 bytes, expected at most"):
            npz.decode(buffer)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


WHOLE = [saved(**ARRAYS).tobytes(), saved(np.savez_compressed, **ARRAYS).tobytes()]


@given(
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=4)), min_size=1, max_size=4),
    st.booleans(),
)
def test_broken_files_are_arrays_or_a_format_error(data, changes, checksums):
    for place, change in changes:
        start = place % len(data)
        data = data[:start] + change + data[start + len(change) :]
    try:
        npz.decode(np.frombuffer(data, np.uint8), checksums=checksums)
    except FormatError:
        return


@given(st.binary())
def test_any_bytes_are_arrays_or_a_format_error(data):
    try:
        npz.decode(np.frombuffer(data, np.uint8))
    except FormatError:
        return
