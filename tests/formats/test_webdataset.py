import io
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twofold.errors import FormatError
from twofold.formats import images, npy, tar, webdataset

PIXELS = np.full((4, 5, 3), 7, np.uint8)


def packed(*members):
    return b"".join(tar.encode_member(name, data) for name, data in members) + tar.END


def samples(data):
    index = webdataset.index(np.frombuffer(data, np.uint8))
    view = memoryview(data)
    return [
        (index.key(number), {name: bytes(part) for name, part in index.members(view, number).items()})
        for number in range(len(index))
    ]


def test_members_are_grouped_by_name_up_to_the_first_dot():
    data = packed(("a/1.jpg", b"x"), ("a/1.seg.PNG", b"y"), ("a/2.jpg", b"z"), ("b/2.cls", b"0"), ("v1.0/3.txt", b""))
    assert samples(data) == [
        ("a/1", {"jpg": b"x", "seg.png": b"y"}),
        ("a/2", {"jpg": b"z"}),
        ("b/2", {"cls": b"0"}),
        ("v1.0/3", {"txt": b""}),
    ]


def test_what_is_no_data_is_left_out_and_counted():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, kind in [("a", b"5"), ("a/1.txt", b"0"), ("a/._1.txt", b"0"), ("README", b"0"), ("l.txt", b"2")]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "elsewhere"
            archive.addfile(info)
        for name, kind in [("h.txt", b"1"), ("p.txt", b"6"), ("D", b"D")]:
            info = tarfile.TarInfo(name)
            info.type = kind
            archive.addfile(info)
    index = webdataset.index(np.frombuffer(file.getvalue(), np.uint8))
    assert [index.key(number) for number in range(len(index))] == ["a/1"]
    assert index.skipped == {
        "folder": 1,
        "hidden file": 1,
        "name without an extension": 1,
        "symbolic link": 1,
        "hard link": 1,
        "device or pipe": 1,
        "type 'D'": 1,
    }


def test_archives_end_to_end_may_repeat_their_keys():
    one = packed(("0.jpg", b"a"), ("0.cls", b"1"), ("1.cls", b"2"))
    assert [key for key, _ in samples(one + one)] == ["0", "1", "0", "1"]
    assert samples(one + one)[2] == ("0", {"jpg": b"a", "cls": b"1"})


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("1.jpg", b""), ("1.JPG", b"")], "byte 512: a second member '1.JPG' in one sample"),
        ([("1.jpg", b""), ("2.jpg", b""), ("1.cls", b"")], "sample '1': its members are apart .* bytes 0 and 1024"),
        ([(f"1.{number}", b"") for number in range(1025)], "'1.1024' is member 1025 of one sample"),
    ],
)
def test_members_that_do_not_fit_together_are_refused(members, message):
    with pytest.raises(FormatError, match=message):
        webdataset.index(np.frombuffer(packed(*members), np.uint8))


def test_a_sparse_member_is_refused():
    member = bytearray(tar.encode_member("a.bin", b"x"))
    member[156:157] = b"S"
    member[148:156] = b" " * 8
    member[148:156] = b"%06o\0 " % sum(member[:512])
    with pytest.raises(FormatError, match=r"'a\.bin' is a sparse member"):
        webdataset.index(np.frombuffer(bytes(member) + tar.END, np.uint8))


@pytest.mark.parametrize(
    ("extension", "data", "value"),
    [
        ("png", images.encode_png(PIXELS), PIXELS),
        ("seg.png", images.encode_png(PIXELS), PIXELS),
        ("npy", npy.encode(np.arange(3)), np.arange(3)),
        ("cls", b"12\n", np.array(12)),
        ("cls", b"-1", np.array(-1)),
        ("json", b"[1, 2.5]", np.array([1, 2.5], np.float32)),
        ("json", b'"word"', "word"),
        ("json", b'{"a": 1}', '{"a": 1}'),
        ("txt", "ä cat".encode(), "ä cat"),
        ("bin", b"\0\1", b"\0\1"),
        ("", b"x", b"x"),
    ],
)
def test_members_are_decoded_by_extension(extension, data, value):
    decoded = webdataset.decode("k", {extension: memoryview(data)})
    assert decoded["__key__"] == "k"
    assert type(decoded[extension]) is type(value)
    np.testing.assert_array_equal(decoded[extension], value)


@pytest.mark.parametrize(
    ("extension", "data", "message"),
    [
        ("jpg", b"no", "sample 'k', member .jpg: Found b'no'"),
        ("npy", b"", "member .npy: Found b''"),
        ("cls", b"cat", "member .cls: found b'cat', expected a whole number"),
        ("cls", b"9" * 19, "expected a whole number"),
        ("json", b"{", "member .json: no JSON"),
        ("txt", b"a\xff", r"member .txt: byte 1 is b'\\xff', expected text in UTF-8"),
    ],
)
def test_a_broken_member_is_named(extension, data, message):
    with pytest.raises(FormatError, match=message):
        webdataset.decode("k", {extension: data})


def test_what_is_written_reads_back_and_depends_on_nothing_else():
    sample = {
        "__key__": "train/000001",
        "png": PIXELS,
        "npy": np.arange(6, dtype=np.float32).reshape(2, 3),
        "cls": np.array(3),
        "json": np.array([1, 2]),
        "txt": "words",
        "bin": b"\0",
    }
    data = webdataset.encode(sample)
    assert data == webdataset.encode(dict(sample))
    ((key, members),) = samples(data + tar.END)
    decoded = webdataset.decode(key, members)
    assert decoded.keys() == sample.keys()
    for name, value in sample.items():
        np.testing.assert_array_equal(decoded[name], value)
    ((key, members),) = samples(webdataset.encode({"__key__": "a", "jpg": PIXELS}) + tar.END)
    assert np.abs(webdataset.decode(key, members)["jpg"].astype(int) - 7).max() < 4


@pytest.mark.parametrize("key", ["", "a.b", "folder/", None])
def test_a_key_that_would_not_read_back_is_refused(key):
    with pytest.raises(FormatError, match="__key__ is"):
        webdataset.encode({"__key__": key, "txt": "x"})


@pytest.mark.parametrize(("name", "value"), [("bin", np.ones(3)), ("cls", np.array(0.5)), ("cls", np.ones(2, int))])
def test_a_value_that_its_extension_cannot_hold_is_refused(name, value):
    with pytest.raises(FormatError, match=f"sample 'k': .{name} cannot hold an array"):
        webdataset.encode({"__key__": "k", name: value})


@given(st.sampled_from(["jpg", "png", "npy", "cls", "json", "txt", "bin"]), st.binary())
def test_any_member_is_a_value_or_a_format_error(extension, data):
    try:
        webdataset.decode("k", {extension: data})
    except FormatError:
        return


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["x", "y", "z"])), max_size=8))
def test_every_member_is_in_one_sample(names):
    data = packed(*((f"{stem}.{extension}", f"{place}".encode()) for place, (stem, extension) in enumerate(names)))
    try:
        found = [data for _, members in samples(data) for data in members.values()]
    except FormatError:
        return
    assert found == [f"{place}".encode() for place in range(len(names))]
