import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twofold.errors import FormatError
from twofold.formats import images, manifest, npy

PIXELS = np.full((2, 3, 3), 9, np.uint8)
LINE = {"source-ref": "s3://b/1.png", "class": 3, "box": [1, 2.5], "word": "a", "class-metadata": {"human": "yes"}}


def test_a_manifest_gives_the_uris_in_order():
    data = json.dumps([{"prefix": "s3://bucket/base/"}, "a/1.csv", "b.csv"]).encode()
    assert manifest.uris(data) == ["s3://bucket/base/a/1.csv", "s3://bucket/base/b.csv"]
    assert manifest.uris(b'[{"prefix": "s3://bucket/"}]') == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[", "^No JSON"),
        (b"[]", "^No manifest"),
        (b'["a"]', "^No manifest"),
        (b'{"prefix": "s3://b/"}', "^No manifest"),
        (b'[{"prefix": "/local/"}, "a"]', r'^entry 0 is "/local/", expected a prefix s3://'),
        (b'[{"prefix": "s3://b/"}, "a", 3]', "^entry 2 is 3, expected a key"),
    ],
)
def test_what_is_no_manifest_is_refused(data, message):
    with pytest.raises(FormatError, match=message):
        manifest.uris(data)


def test_lines_give_the_chosen_attributes():
    data = (json.dumps(LINE) + "\n") * 2
    first, second = manifest.decode_lines(data.encode(), list(LINE))
    assert first["source-ref"] == "s3://b/1.png"
    assert (first["class"], first["word"]) == (3, "a")
    np.testing.assert_array_equal(first["box"], np.float32([1, 2.5]))
    assert json.loads(first["class-metadata"]) == {"human": "yes"}
    assert second.keys() == first.keys()
    assert [*manifest.decode_lines(data.encode(), ["class"])[0]] == ["class"]
    assert manifest.decode_lines(b"\n", ["class"]) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "^line 7 is no JSON"),
        (b"[1]", "^line 7 has no object, expected the attribute 'a-ref'"),
        (b'{"a": 1}', "^line 7 has a, expected the attribute 'a-ref'"),
        (b'{"a-ref": 3}', "^line 7: 'a-ref' is 3, expected the URI"),
        (b'{"a-ref": "file:///x"}', "^line 7: 'a-ref' is \"file:///x\", expected the URI"),
    ],
)
def test_a_broken_line_is_refused(line, message):
    with pytest.raises(FormatError, match=message):
        manifest.decode_lines(line, ["a-ref"], first_line=7)


def test_records_of_a_pipe_become_samples_again():
    records = [images.encode_png(PIXELS), b"3", npy.encode(np.arange(2)), b"[1, 2]", b"\0raw", b"a word"]
    first, second, third = manifest.samples(records, ["x-ref", "y"])
    np.testing.assert_array_equal(first["x-ref"], PIXELS)
    assert first["y"] == 3
    np.testing.assert_array_equal(second["x-ref"], [0, 1])
    np.testing.assert_array_equal(second["y"], [1, 2])
    assert third == {"x-ref": b"\0raw", "y": "a word"}
    assert list(manifest.samples([], ["x"])) == []


@pytest.mark.parametrize(
    ("records", "attributes", "message"),
    [
        ([b"1", b"2", b"3"], ["x", "y"], "^sample 1: the data end after 1 of 2 attributes"),
        ([b"\xff\xd8\xff", b"1"], ["x-ref", "y"], "^sample 0, attribute 'x-ref': The JPEG"),
        ([b"1", b"\xff"], ["x", "y"], "^sample 0, attribute 'y': byte 0 is no UTF-8"),
        ([b"1"], [], "^0 attributes"),
        ([b"1"], ["x", "x"], "^2 attributes"),
        ([b"1"], [str(number) for number in range(17)], "^17 attributes"),
    ],
)
def test_records_that_make_no_samples_are_refused(records, attributes, message):
    with pytest.raises(FormatError, match=message):
        list(manifest.samples(records, attributes))


@given(
    st.binary() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_any_bytes_are_read_or_a_format_error(data):
    for read in [
        lambda: manifest.uris(data),
        lambda: manifest.decode_lines(data, ["a"]),
        lambda: manifest.decode_attribute("a", data),
        lambda: manifest.decode_attribute("a-ref", data),
    ]:
        try:
            read()
        except FormatError:
            continue
