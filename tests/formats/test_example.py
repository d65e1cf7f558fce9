import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from twofold.errors import FormatError
from twofold.formats import example

Type = descriptor_pb2.FieldDescriptorProto


def reference(*, packed=True):
    """Google's own reader and writer of tf.train.Example, from TensorFlow's example.proto and feature.proto."""
    file = descriptor_pb2.FileDescriptorProto(name=f"example{packed}.proto", package=f"tf{packed}")

    def message(name, number, field, kind, *, repeated=False, home=file.message_type):
        described = home.add(name=name)
        add(described, number, field, kind, repeated=repeated)
        return described

    def add(described, number, field, kind, *, repeated=False):
        added = described.field.add(name=field, number=number, label=3 if repeated else 1)
        if isinstance(kind, str):
            added.type, added.type_name = Type.TYPE_MESSAGE, f".{file.package}.{kind}"
        else:
            added.type = kind
            if repeated and kind != Type.TYPE_BYTES:
                added.options.packed = packed

    for name, kind in (("Bytes", Type.TYPE_BYTES), ("Float", Type.TYPE_FLOAT), ("Int64", Type.TYPE_INT64)):
        message(f"{name}List", 1, "value", kind, repeated=True)
    feature = message("Feature", 1, "bytes_list", "BytesList")
    add(feature, 2, "float_list", "FloatList")
    add(feature, 3, "int64_list", "Int64List")
    feature.oneof_decl.add(name="kind")
    for field in feature.field:
        field.oneof_index = 0
    features = message("Features", 1, "feature", "Features.FeatureEntry", repeated=True)
    entry = message("FeatureEntry", 1, "key", Type.TYPE_STRING, home=features.nested_type)
    add(entry, 2, "value", "Feature")
    entry.options.map_entry = True
    message("Example", 1, "features", "Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.Example"))


Example, Unpacked = reference(), reference(packed=False)
INT64 = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(width=32, allow_nan=False)


def read(data):
    return example.decode(data, 0, len(data))


@given(
    st.sampled_from([Example, Unpacked]),
    st.lists(INT64, min_size=2, max_size=9),
    st.lists(FLOATS, min_size=2, max_size=9),
    st.lists(st.binary(max_size=9), max_size=5),
)
def test_what_protobuf_writes_reads_packed_and_unpacked(message, integers, floats, texts):
    record = message()
    record.features.feature["integers"].int64_list.value.extend(integers)
    record.features.feature["floats"].float_list.value.extend(floats)
    record.features.feature["texts"].bytes_list.value.extend(texts)
    record.features.feature["label"].int64_list.value.append(integers[0])
    record.features.feature["nothing"].SetInParent()
    record.features.feature["none"].int64_list.SetInParent()
    sample = read(record.SerializeToString())
    assert sample["integers"].dtype == np.int64
    assert sample["integers"].tolist() == integers
    np.testing.assert_array_equal(sample["floats"], np.array(floats, dtype=np.float32))
    assert (sample["texts"] if len(texts) == 1 else sample["texts"].tolist()) == (
        texts[0] if len(texts) == 1 else texts
    )
    assert sample["label"].shape == ()
    assert sample["label"] == integers[0]
    assert (sample["nothing"].dtype, sample["nothing"].shape) == (np.float32, (0,))
    assert (sample["none"].dtype, sample["none"].shape) == (np.int64, (0,))


@given(st.dictionaries(st.text(max_size=5), st.lists(INT64) | st.lists(FLOATS) | st.binary(max_size=20), max_size=5))
def test_protobuf_reads_what_is_written(values):
    kinds = {int: np.int64, float: np.float32}
    sample = {
        name: value if isinstance(value, bytes) else np.array(value, dtype=kinds[type(value[0])] if value else np.int64)
        for name, value in values.items()
    }
    record = Example.FromString(example.encode(sample))
    assert record.features.feature.keys() == values.keys()
    for name, value in values.items():
        feature = record.features.feature[name]
        if isinstance(value, bytes):
            assert list(feature.bytes_list.value) == [value]
        elif value and isinstance(value[0], float):
            assert list(feature.float_list.value) == value
        else:
            assert list(feature.int64_list.value) == value


@given(arrays(st.sampled_from(["f4", "i8"]), array_shapes(max_dims=1, min_side=2)) | st.binary())
def test_samples_read_back(value):
    np.testing.assert_array_equal(read(example.encode({"a": value}))["a"], value)


def test_other_types_become_the_one_that_holds_them():
    sample = {
        "double": np.array([0.5, 1]),
        "small": np.array([[-1, 2]], dtype=np.int8),
        "picture": np.arange(4, dtype=np.uint8).reshape(2, 2),
        "text": "é",
        "texts": np.array([b"a", b"b"], dtype=object),
        "flag": np.array([True, False]),
    }
    found = read(example.encode(sample))
    assert (found["double"].dtype, found["double"].tolist()) == (np.float32, [0.5, 1])
    assert (found["small"].dtype, found["small"].tolist()) == (np.int64, [-1, 2])
    assert found["picture"] == b"\x00\x01\x02\x03"
    assert found["text"] == "é".encode()
    assert found["texts"].tolist() == [b"a", b"b"]
    assert found["flag"].tolist() == [1, 0]


@pytest.mark.parametrize("value", [np.array(["a"]), np.array(2**63, dtype=np.uint64), np.array(1j)])
def test_what_does_not_fit_is_refused(value):
    with pytest.raises(FormatError, match=r"'a' holds .*, expected floats, integers up to 2\^63 - 1, bytes or text"):
        example.encode({"a": value})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x12\x00", r"it is a SequenceExample, expected an Example"),
        (b"\x0a\x02\x0a\x05", r"found a field of 5 bytes, expected at most 0, at byte 2 of the record"),
        (b"\x0a\x04\x0a\x02\x0a\x05", r"expected at most 0, at byte 4"),
        (b"\x0a\x02\x08\x01", r"found a feature as a field of kind 0, expected 2"),
        (b"\x0a\x0b\x0a\x09\x12\x07\x12\x05\x0a\x03abc", r"found 3 bytes of '', expected whole values of 4"),
        (b"\x0a\x05\x0a\x03\x0a\x01\xff", r"expected text in UTF-8"),
    ],
)
def test_broken_records_are_refused_with_the_byte(data, message):
    with pytest.raises(FormatError, match=message):
        read(data)
