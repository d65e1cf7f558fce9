import contextlib
import tracemalloc

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from twofold.errors import FormatError
from twofold.formats import aialgs, recordio

Type = descriptor_pb2.FieldDescriptorProto


def reference(*, packed=True):
    """Google's own reader and writer of the messages, from the description in SageMaker's documentation."""
    file = descriptor_pb2.FileDescriptorProto(name=f"aialgs{packed}.proto", package=f"aialgs{packed}.data")

    def message(name, *fields, home=file.message_type):
        described = home.add(name=name)
        for number, field, kind, repeated in fields:
            named = kind if isinstance(kind, str) else None
            added = described.field.add(name=field, number=number, label=3 if repeated else 1)
            if named:
                added.type, added.type_name = Type.TYPE_MESSAGE, f".{file.package}.{named}"
            else:
                added.type = kind
            if repeated and not named and kind != Type.TYPE_BYTES:
                added.options.packed = packed
        return described

    for name, kind in (("Float32", Type.TYPE_FLOAT), ("Float64", Type.TYPE_DOUBLE), ("Int32", Type.TYPE_INT32)):
        whole = Type.TYPE_UINT64
        message(f"{name}Tensor", (1, "values", kind, True), (2, "keys", whole, True), (3, "shape", whole, True))
    message("Bytes", (1, "value", Type.TYPE_BYTES, True), (2, "content_type", Type.TYPE_STRING, False))
    tensors = {"float32_tensor": 2, "float64_tensor": 3, "int32_tensor": 7, "bytes": 9}
    kinds = ["Float32Tensor", "Float64Tensor", "Int32Tensor", "Bytes"]
    fields = [(number, name, kind, False) for (name, number), kind in zip(tensors.items(), kinds, strict=True)]
    value = message("Value", *fields)
    value.oneof_decl.add(name="value")
    for field in value.field:
        field.oneof_index = 0
    texts = [(number, name, Type.TYPE_STRING, False) for number, name in ((3, "uid"), (4, "metadata"))]
    record = message(
        "Record", (1, "features", "Record.FeaturesEntry", True), (2, "label", "Record.LabelEntry", True), *texts
    )
    for name in ("FeaturesEntry", "LabelEntry"):
        entry = message(
            name, (1, "key", Type.TYPE_STRING, False), (2, "value", "Value", False), home=record.nested_type
        )
        entry.options.map_entry = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.Record"))


Record, Unpacked = reference(), reference(packed=False)
TENSORS = {"f4": "float32_tensor", "f8": "float64_tensor", "i4": "int32_tensor"}


def framed(record):
    return memoryview(recordio.frame(record.SerializeToString()))


def filled(message, values=(1.0, 2.0), tensor="float32_tensor", keys=(), shape=(), key="values"):
    target = getattr(message.features[key], tensor)
    target.values.extend(values)
    target.keys.extend(keys)
    target.shape.extend(shape)
    return message


def same(left, right):
    assert left.keys() == right.keys()
    for name, value in left.items():
        other = right[name]
        assert type(value) is type(other)
        if isinstance(value, np.ndarray):
            assert (value.dtype, value.shape) == (other.dtype, other.shape)
            np.testing.assert_array_equal(value, other)
        else:
            assert value == other


ARRAYS = st.sampled_from(["f4", "f8", "i4", "u1"]).flatmap(
    lambda dtype: arrays(dtype, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5))
)
NAMES = st.sampled_from(["features", "label", "features/a", "label/score", "features/", "features/a/b"])
VALUES = ARRAYS | st.binary(max_size=20) | st.text(max_size=20)
SAMPLES = st.dictionaries(NAMES, VALUES, max_size=4)


@given(SAMPLES, st.none() | st.text(max_size=9))
def test_samples_read_back(sample, uid):
    sample |= {} if uid is None else {"uid": uid}
    same(aialgs.decode(memoryview(aialgs.encode(sample))), sample)


@given(ARRAYS.filter(lambda array: array.dtype != np.uint8), st.sampled_from(["features", "label"]))
def test_protobuf_reads_what_is_written(array, name):
    record = Record.FromString(recordio.payload(memoryview(aialgs.encode({name: array}))))
    tensor = getattr(getattr(record, name)["values"], TENSORS[array.dtype.str[1:]])
    np.testing.assert_array_equal(np.array(tensor.values, dtype=array.dtype), array.reshape(-1))
    assert list(tensor.shape) in ([], list(array.shape))
    assert not tensor.keys


@given(
    st.sampled_from([Record, Unpacked]),
    st.lists(st.integers(-(2**31), 2**31 - 1), max_size=9),
    st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=9),
)
def test_what_protobuf_writes_reads_packed_and_unpacked(message, integers, floats):
    record = message(uid="7", metadata="{}")
    filled(record, integers, "int32_tensor", shape=[len(integers)], key="whole")
    filled(record, floats)
    filled(record, floats, "float64_tensor", key="double")
    record.label["values"].float32_tensor.values.append(3)
    record.features["picture"].bytes.value.append(b"\xff\xd8")
    record.features["pictures"].bytes.value.extend([b"a", b"bc"])
    sample = aialgs.decode(framed(record))
    assert sample.pop("features/pictures").tolist() == [b"a", b"bc"]
    expected = {
        "features/whole": np.array(integers, dtype=np.int32),
        "features": np.array(floats, dtype=np.float32),
        "features/double": np.array(floats),
        "features/picture": b"\xff\xd8",
        "label": np.array(3, dtype=np.float32),
        "uid": "7",
        "metadata": "{}",
    }
    same(dict(sorted(sample.items())), dict(sorted(expected.items())))


def test_a_tensor_in_pieces_and_of_two_types_reads_as_protobuf_says():
    pieces = [filled(Record(), [1, 2]), filled(Record(), [3])]
    values = [message.features["values"].SerializeToString() for message in pieces]
    entry = b"\x0a\x06values" + b"".join(b"\x12" + bytes([len(value)]) + value for value in values)
    data = b"\x0a" + bytes([len(entry)]) + entry
    assert list(Record.FromString(data).features["values"].float32_tensor.values) == [1, 2, 3]
    np.testing.assert_array_equal(aialgs.decode(memoryview(recordio.frame(data)))["features"], [1, 2, 3])


@pytest.mark.parametrize("tensor", TENSORS.values())
def test_sparse_tensors_become_dense(tensor):
    record = filled(Record(), [7, 8], tensor, keys=[5, 0], shape=[2, 3])
    np.testing.assert_array_equal(aialgs.decode(framed(record))["features"], [[8, 0, 0], [0, 0, 7]])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"keys": [0, 1]}, r"keys but no shape in 'features'.*Write a sparse tensor with its shape"),
        ({"keys": [0], "shape": [4]}, r"2 values and 1 keys in 'features'"),
        ({"keys": [0, 4], "shape": [4]}, r"key 4 in 'features', expected 0 to 3 for its shape \[4\]"),
        ({"keys": [0, 2**63], "shape": [4]}, r"key -9223372036854775808 in"),
        (
            {"keys": [0, 1], "shape": [2**28]},
            r"sparse 'features' of shape \[268435456\], expected at most 67108864 values",
        ),
        ({"keys": [0, 1], "shape": [2**40, 2**40]}, r"expected one that memory can hold"),
        ({"shape": [3]}, r"found 2 values of 'features', expected 3 for its shape \[3\]"),
        ({"shape": [0, 2**62]}, r"expected one that memory can hold"),
        ({"shape": [1] * 60}, r"found the shape \[1, 1, 1, 1, 1, 1, 1, 1\] and more"),
    ],
)
def test_tensors_that_make_no_sense_are_refused(parts, message):
    record = framed(filled(Record(), **parts))
    tracemalloc.start()
    with pytest.raises(FormatError, match=message):
        aialgs.decode(record)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x0a\x05ab", r"found a field of 5 bytes, expected at most 2, at byte 8 of the record"),
        (b"\x0b", r"field of kind 3"),
        (b"\x00\x00", r"field of number 0"),
        (b"\xff" * 12, r"a number that does not end, .* at byte 8"),
        (b"\x0a\x80", r"a number that the message cuts off"),
        (b"\x08\x01", r"found features as a field of kind 0, expected 2"),
        (b"\x0a\x00", r"found no value in 'features/'"),
        (b"\x1a\x01\xff", r"expected text in UTF-8"),
        (b"\x0a\x09\x12\x07\x12\x05\x0a\x03abc", r"found 3 bytes of 'features/', expected whole values of 4"),
        (b"\x0a\x07\x12\x05\x3a\x03\x0a\x01\x80", r"packed numbers that do not end"),
    ],
)
def test_broken_records_are_refused_with_the_byte(data, message):
    with pytest.raises(FormatError, match=message):
        aialgs.decode(memoryview(recordio.frame(data)))


def test_what_does_not_fit_is_refused():
    with pytest.raises(FormatError, match=r"'label' has values from 2147483648 to 2147483648.*float64"):
        aialgs.encode({"label": np.array(2**31)})
    with pytest.raises(FormatError, match=r"'label' holds complex128, expected numbers"):
        aialgs.encode({"label": np.array(1j)})


@given(
    st.data(),
    st.dictionaries(NAMES, ARRAYS.filter(lambda array: array.size), min_size=1, max_size=4),
    st.integers(1, 20),
)
def test_a_layout_gathers_what_decode_reads(data, shapes, records):
    samples = [
        {name: data.draw(arrays(value.dtype, value.shape)) for name, value in shapes.items()} for _ in range(records)
    ]
    frames = [aialgs.encode(sample) for sample in samples]
    shard = np.frombuffer(b"".join(frames), dtype=np.uint8)
    found = aialgs.layout(shard.data, len(shard))
    if found is None:  # integers of several lengths
        assert any(value.dtype.kind == "i" for value in shapes.values())
        return
    found.verify(shard, 0, records)
    rows = np.array(data.draw(st.lists(st.integers(0, records - 1), max_size=30)), dtype=np.int64)
    batch = found.gather(shard, rows)
    assert batch.keys() == shapes.keys()
    for place, row in enumerate(rows):
        same(aialgs.decode(memoryview(frames[row])), {name: np.array(column[place]) for name, column in batch.items()})


@pytest.mark.parametrize(
    "samples",
    [
        [{"features": np.zeros(3)}, {"features": np.zeros(4)}],
        [{"features": np.zeros(4, dtype="f4")}, {"features": np.zeros(2)}],
        [{"features": np.zeros(4), "uid": "1"}] * 2,
        [{"features": "text"}] * 2,
        [{"features": np.array([1, 300])}] * 2,
        [{"label": np.array(1)}, {"label": np.array(300)}],
        [{}] * 2,
        [{"features": np.frombuffer(recordio.MAGIC.to_bytes(4, "little") * 3, dtype="f4")}] * 2,
    ],
)
def test_records_of_no_one_layout_have_none(samples):
    data = b"".join(map(aialgs.encode, samples))
    assert aialgs.layout(memoryview(data), len(data)) is None
    assert len(aialgs.index(np.frombuffer(data, dtype=np.uint8))) == 2


def test_a_cut_or_sparse_or_strange_shard_has_no_layout():
    data = aialgs.encode({"features": np.zeros(9)}) * 3
    assert aialgs.layout(memoryview(data), len(data)) is not None
    assert aialgs.layout(memoryview(data)[:-4], len(data) - 4) is None
    assert aialgs.layout(memoryview(data)[:20], len(data)) is None
    for other in (b"", b"0.5,1,2\n" * 9, bytes(framed(filled(Record(), keys=[0, 1], shape=[4])))):
        assert aialgs.layout(memoryview(other), len(other)) is None


def test_bytes_of_one_length_are_laid_out_as_numbers():
    data = b"".join(aialgs.encode({"features": text, "label": np.array(1.5)}) for text in (b"abc", b"def"))
    found = aialgs.layout(memoryview(data), len(data))
    assert found.fields["features"].raw
    batch = found.gather(np.frombuffer(data, dtype=np.uint8), np.array([1, 0]))
    assert [bytes(row) for row in batch["features"]] == [b"def", b"abc"]


@given(SAMPLES, st.data())
def test_a_mutated_record_reads_or_is_refused(sample, data):
    good = recordio.payload(memoryview(aialgs.encode(sample)))
    at = data.draw(st.integers(0, len(good)))
    bad = good[:at] + data.draw(st.binary(max_size=6)) + good[data.draw(st.integers(at, len(good))) :]
    record = recordio.frame(bad)
    with contextlib.suppress(FormatError):
        aialgs.decode(memoryview(record))
    aialgs.layout(memoryview(record), len(record))
