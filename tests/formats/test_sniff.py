import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twofold.errors import FormatError
from twofold.formats import aialgs, images, npy, npz, parquet, recordio, sniff, tar, tfrecord
from twofold.formats.sniff import Kind

PIXELS = np.zeros((8, 8, 3), np.uint8)


def parquet_bytes():
    file = io.BytesIO()
    writer = parquet.Writer(file)
    writer.write({"x": np.arange(3)})
    writer.close()
    return file.getvalue()


BINARY = {
    Kind.RECORDIO_PROTOBUF: aialgs.encode({"features": np.ones(3, np.float32), "label": np.float32(1)}),
    Kind.RECORDIO: recordio.frame(images.encode_jpeg(PIXELS)),
    Kind.TFRECORD: tfrecord.frame(b"anything"),
    Kind.TAR: tar.encode_member("a.txt", b"x"),
    Kind.PARQUET: parquet_bytes(),
    Kind.NPY: npy.encode(np.ones(3)),
    Kind.NPZ: npz.encode({"x": np.ones(3)}),
    Kind.IMAGE: images.encode_png(PIXELS),
}
TEXT = {
    Kind.CSV: b"1,2.5\n3,4\n",
    Kind.CSV_HEADER: b"age,city\n3,Bern\n",
    Kind.LIBSVM: b"+1 1:0.5 7:1\n0 2:3\n",
    Kind.JSON_LINES: b'{"text": "a", "label": 3}\n{"text": "b", "label": 4}\n',
    Kind.MANIFEST: b'[{"prefix": "s3://bucket/"}, "a", "b"]',
    Kind.AUGMENTED_MANIFEST: b'{"source-ref": "s3://bucket/1.jpg", "class": 3}\n',
}


@pytest.mark.parametrize("kind", BINARY)
@pytest.mark.parametrize(("name", "content_type"), [("data", None), ("data.csv", "text/csv"), ("x.npy", "image/png")])
def test_a_signature_beats_content_type_and_name(kind, name, content_type):
    assert sniff.recognise(BINARY[kind][:1000], name, content_type) is kind


@pytest.mark.parametrize("kind", TEXT)
@pytest.mark.parametrize("content_type", [None, "application/octet-stream"])
def test_text_is_recognised_by_its_form_when_nothing_is_said(kind, content_type):
    assert sniff.recognise(TEXT[kind], "part-00000", content_type) is kind


@pytest.mark.parametrize(
    ("head", "name", "content_type", "kind"),
    [
        (b"[1, 2]\n", "x", None, Kind.JSON_LINES),
        (b"5\n6\n", "x", None, Kind.CSV),
        (b"1 1:2\n", "x", "text/csv; label_size=0", Kind.CSV),
        (b"1\n1 2:3\n", "x.libsvm", None, Kind.LIBSVM),
        (b"1\n1 2:3\n", "x.csv", "text/libsvm", Kind.LIBSVM),
        (b"name\nword\n", "X.CSV", None, Kind.CSV_HEADER),
        (b"1,2\n", "x.csv", None, Kind.CSV),
        (TEXT[Kind.AUGMENTED_MANIFEST], "x.jsonl", None, Kind.AUGMENTED_MANIFEST),
        (b"", "x.csv", None, Kind.CSV),
        (b"", "x", "application/x-npy", Kind.NPY),
        (tar.END, "x.tar", None, Kind.TAR),
        (recordio.frame(b""), "x", None, Kind.RECORDIO),
        (recordio.frame(b""), "x", "application/x-recordio-protobuf", Kind.RECORDIO_PROTOBUF),
        (BINARY[Kind.RECORDIO_PROTOBUF], "x", "application/x-recordio", Kind.RECORDIO),
        (aialgs.encode({"features": np.ones(9999)})[:1000], "x", None, Kind.RECORDIO_PROTOBUF),
        (recordio.frame(bytes(9999))[:1000], "x", None, Kind.RECORDIO),
    ],
)
def test_then_content_type_decides_and_then_the_name(head, name, content_type, kind):
    assert sniff.recognise(head, name, content_type) is kind


@pytest.mark.parametrize(
    ("head", "name", "content_type", "message"),
    [
        (
            b"\x1f\x8b\x08\0",
            "x.csv.gz",
            None,
            "x.csv.gz is compressed with gzip, .* Pipe mode only, with CompressionType",
        ),
        (b"\x89HDF\r\n\x1a\n", "x.h5", None, "x.h5 is HDF5, which is none of the formats that are read: recordio-pro"),
        (b"PK\x03\x04" + bytes(30), "x.pt", None, "x.pt is a zip that is no NPZ"),
        (b"\x80\x04\x95", "x.pkl", None, "x.pkl is a pickle, which is never read"),
        (b"<Error><Code>", "x", None, "XML or HTML, such as an error page"),
        (b"<Error><Code>", "x.npy", None, "x.npy is XML .* its name says npy. Correct the name, or the prefix"),
        (b"1,2\n", "x.npy", None, "x.npy starts with b'1,2.n' but its name says npy"),
        (
            b"1,2\n",
            "x",
            "application/x-npy",
            "but its ContentType 'application/x-npy' says npy. Correct the ContentType",
        ),
        (b"\0\1\2", "x.csv", None, "but its name says csv"),
        (b"some words of text\nand more\n", "README", None, "README starts with b'some words of te', which is none"),
        (b"", "x", None, "x is empty, which is none"),
    ],
)
def test_what_is_not_read_is_named_with_what_to_do(head, name, content_type, message):
    with pytest.raises(FormatError, match=message):
        sniff.recognise(head, name, content_type)


@given(
    st.binary(max_size=1100)
    | st.builds(
        bytes.__add__, st.sampled_from([head[:40] for head in [*BINARY.values(), *TEXT.values()]]), st.binary()
    ),
    st.sampled_from(["x", "x.csv", "x.tar", "x.jsonl", "x.npy"]),
    st.sampled_from([None, "text/csv", "text/libsvm", "application/x-recordio", "nonsense"]),
)
def test_any_bytes_are_a_kind_or_a_format_error(head, name, content_type):
    try:
        sniff.recognise(head, name, content_type)
    except FormatError:
        return
