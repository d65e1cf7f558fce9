"""SageMaker's protobuf records (`application/x-recordio-protobuf`): tensors, dense or sparse, framed as RecordIO.

    Record { map<string, Value> features = 1, label = 2; string uid = 3, metadata = 4, configuration = 5 }
    Value  { oneof { Float32Tensor = 2, Float64Tensor = 3, Int32Tensor = 7, Bytes = 9 } }
    Tensor { repeated values = 1; repeated uint64 keys = 2, shape = 3 }
    Bytes  { repeated bytes value = 1; string content_type = 2 }

Names: `features["values"]` is `features`, `label["values"]` is `label`; any other key is `features/KEY` or `label/KEY`.
A label of one value without a shape is a scalar; a tensor with keys is sparse and is made dense here.
Source: the package `aialgs.data` as https://docs.aws.amazon.com/sagemaker/latest/dg/cdf-training.html gives it.
"""

import math
from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from . import npy, recordio, wire
from .layout import Buffer, Field, Index, Layout, Sample, Value, of_first, varint_size

MAX_DENSE = 1 << 28
"""Most bytes that one sparse tensor may take when it is made dense."""

_MAPS = {1: "features", 2: "label"}
_TEXTS = {3: "uid", 4: "metadata", 5: "configuration"}
_FLOAT32, _FLOAT64, _INT32, _BYTES = 2, 3, 7, 9
_TYPES: dict[int, np.dtype[Any]] = {_FLOAT32: np.dtype("<f4"), _FLOAT64: np.dtype("<f8"), _INT32: np.dtype("<i4")}
_KINDS = {_FLOAT32: wire.FIXED32, _FLOAT64: wire.FIXED64, _INT32: wire.VARINT}
_MAX_AXES = 32
_NPY, _TEXT = "application/x-npy", "text/plain"


@dataclass(slots=True)
class _Tensor:
    """One value of a record, by its place in it."""

    name: str = ""
    kind: int = 0
    values: wire.Spans = field(default_factory=lambda: array("q"))
    keys: wire.Spans = field(default_factory=lambda: array("q"))
    shape: wire.Spans = field(default_factory=lambda: array("q"))
    content_type: str = ""


def index(buffer: Buffer) -> Index:
    """Find all records; as in `recordio`."""
    return recordio.index(buffer)


def decode(record: memoryview) -> Sample:
    """Read one framed record.

    Raises:
        FormatError: names the byte, counted from the start of the record (of its data, if that is in many parts).
    """
    data, start = _unframed(record)
    sample: Sample = {}
    for part in wire.parts(data, start, len(data)):
        if part.number in _TEXTS:
            wire.only(part, wire.LENGTH, _TEXTS[part.number])
            sample[_TEXTS[part.number]] = wire.text(data, part)
        elif part.number in _MAPS:
            tensor = _entry(data, part)
            sample[tensor.name] = _value(data, tensor)
    return sample


def encode(sample: Sample) -> bytes:
    """Write one framed record; other types of number than the three become the one that holds them.

    Arrays of uint8 become Bytes that hold an NPY file (content type `application/x-npy`), which keeps their shape and
    is not read number by number. Text becomes Bytes of the content type `text/plain`. A field of any other name than
    `features...` and `label...` becomes a key of the map of features.

    Raises:
        FormatError: a value that the format cannot hold, by its name.
    """
    record = bytearray()
    for name, value in sample.items():
        if name in _TEXTS.values() and isinstance(value, str):
            continue
        kind, slash, key = name.partition("/")
        number, key = (2, key) if kind == "label" else (1, key if kind == "features" else name)
        entry = wire.field(1, (key if slash else key or "values").encode()) + wire.field(2, _encoded(name, value))
        record += wire.field(number, entry)
    for number, name in _TEXTS.items():
        text = sample.get(name)
        if isinstance(text, str):
            record += wire.field(number, text.encode())
    return recordio.frame(bytes(record))


def layout(head: memoryview, size: int) -> Layout | None:
    """Find the layout of a shard by its first records.

    Args:
        head: the shard's first bytes, with at least one record.
        size: bytes of the shard.

    Returns:
        None if the records in `head` differ in more than the numbers, are sparse, or hold texts: read such a shard, and
        a broken one, by its `index`.
    """
    _, stride = recordio.whole(head)
    if not stride:
        return None
    try:
        fields = _fields(head[:stride])
    except FormatError:  # `index` and `decode` will say where
        return None
    return of_first(head, size, stride, fields) if fields else None


def _unframed(record: memoryview) -> tuple[bytes, int]:
    """Bytes that hold the data of one framed record, and where in them it starts."""
    stop, end = recordio.whole(record)
    if end != len(record) or not end:
        return recordio.payload(record), 0
    return bytes(record[:stop]), recordio.HEADER


def _fields(record: memoryview) -> dict[str, Field] | None:
    """Where the numbers of one record lie, if nothing else differs from record to record."""
    data, start = _unframed(record)
    fields: dict[str, Field] = {}
    for part in wire.parts(data, start, len(data)):
        if part.number in _TEXTS:
            return None
        if part.number not in _MAPS:
            continue
        tensor = _entry(data, part)
        place = _field(data, tensor)
        if place is None or tensor.name in fields:
            return None
        fields[tensor.name] = place
    return fields


def _entry(data: bytes, part: wire.Part) -> _Tensor:
    """Read one entry of a map."""
    wire.only(part, wire.LENGTH, _MAPS[part.number])
    key, tensor = "", _Tensor()
    for inner in wire.parts(data, part.start, part.stop):
        if inner.number == 1:
            key = wire.text(data, wire.only(inner, wire.LENGTH, "the key of a map"))
        elif inner.number == 2:
            _read_value(data, wire.only(inner, wire.LENGTH, "the value of a map"), tensor)
    kind = _MAPS[part.number]
    tensor.name = kind if key == "values" else f"{kind}/{key}"
    if not tensor.kind:
        raise FormatError(f"found no value in {tensor.name!r}, at byte {part.start} of the record, expected a tensor.")
    return tensor


def _read_value(data: bytes, value: wire.Part, tensor: _Tensor) -> None:
    """Read a Value; fields that come again add to what there is, as protobuf wants it, unless of another type."""
    for part in wire.parts(data, value.start, value.stop):
        if part.number != _BYTES and part.number not in _TYPES:
            continue
        wire.only(part, wire.LENGTH, "a tensor")
        if part.number != tensor.kind:
            tensor.kind, tensor.values, tensor.keys, tensor.shape = part.number, array("q"), array("q"), array("q")
        for inner in wire.parts(data, part.start, part.stop):
            if part.number == _BYTES:
                _read_bytes(data, inner, tensor)
            elif inner.number == 1:
                wire.add(tensor.values, _packed(inner, _KINDS[part.number]))
            elif inner.number == 2:
                wire.add(tensor.keys, _packed(inner, wire.VARINT))
            elif inner.number == 3:
                wire.add(tensor.shape, _packed(inner, wire.VARINT))


def _read_bytes(data: bytes, part: wire.Part, tensor: _Tensor) -> None:
    if part.number == 1:
        wire.add(tensor.values, wire.only(part, wire.LENGTH, "bytes"))
    elif part.number == 2:
        tensor.content_type = wire.text(data, wire.only(part, wire.LENGTH, "a content type"))


def _packed(part: wire.Part, kind: int) -> wire.Part:
    return part if part.kind == wire.LENGTH else wire.only(part, kind, "a number of a tensor")


def _value(data: bytes, tensor: _Tensor) -> Value:
    if tensor.kind == _BYTES:
        return _bytes_value(data, tensor)
    raw = wire.join(data, tensor.values)
    values: NDArray[Any]
    if tensor.kind == _INT32:
        values = wire.varints(raw).astype(np.int32)
    else:
        values = wire.numbers(raw, _TYPES[tensor.kind], tensor.name)
    shape = _shape(data, tensor)
    if tensor.keys:
        return _dense(tensor.name, values, wire.varints(wire.join(data, tensor.keys)), shape)
    if shape is None:
        return values.reshape(()) if _is_scalar(tensor.name, len(values)) else values
    if math.prod(shape) != len(values):
        raise FormatError(
            f"found {len(values)} values of {tensor.name!r}, expected {math.prod(shape)} for its shape {list(shape)}."
        )
    return values.reshape(shape)


def _is_scalar(name: str, values: int) -> bool:
    return values == 1 and name.partition("/")[0] == "label"


def _shape(data: bytes, tensor: _Tensor) -> tuple[int, ...] | None:
    if not tensor.shape:
        return None
    shape = tuple(wire.varints(wire.join(data, tensor.shape)).tolist())
    if len(shape) > _MAX_AXES or min(shape, default=0) < 0 or math.prod(max(size, 1) for size in shape) >= 1 << 48:
        shown = f"{list(shape[:8])}{' and more' if len(shape) > 8 else ''}"
        raise FormatError(f"found the shape {shown} of {tensor.name!r}, expected one that memory can hold.")
    return shape


def _dense(name: str, values: NDArray[Any], keys: NDArray[np.int64], shape: tuple[int, ...] | None) -> NDArray[Any]:
    """Make a sparse tensor dense; its keys count values in C order."""
    if shape is None:
        raise FormatError(f"found keys but no shape in {name!r}, expected both. Write a sparse tensor with its shape.")
    size = math.prod(shape)
    if size * values.itemsize > MAX_DENSE:
        raise FormatError(
            f"found a sparse {name!r} of shape {list(shape)}, expected at most {MAX_DENSE // values.itemsize} values. "
            f"Reduce its dimension."
        )
    if len(keys) != len(values):
        raise FormatError(f"found {len(values)} values and {len(keys)} keys in {name!r}, expected as many of both.")
    if len(keys) and not 0 <= int(keys.min()) <= int(keys.max()) < size:
        wrong = int(keys[(keys < 0) | (keys >= size)][0])
        raise FormatError(f"found key {wrong} in {name!r}, expected 0 to {size - 1} for its shape {list(shape)}.")
    dense = np.zeros(size, dtype=values.dtype)
    dense[keys] = values
    return dense.reshape(shape)


def _bytes_value(data: bytes, tensor: _Tensor) -> Value:
    value = wire.pieces(data, tensor.values)
    if not isinstance(value, bytes):
        return value
    if tensor.content_type == _NPY:
        return npy.decode(value).copy()
    if tensor.content_type == _TEXT:
        return wire.text(data, wire.Part(_BYTES, wire.LENGTH, *tensor.values))
    return value


def _field(data: bytes, tensor: _Tensor) -> Field | None:
    """Where the values of one tensor lie, if they are dense and one run of bytes."""
    if tensor.keys or len(tensor.values) != 2:
        return None
    start, stop = tensor.values
    value = _value(data, tensor)
    if isinstance(value, bytes):
        return Field(np.dtype(np.uint8), (stop - start,), start, raw=True)
    if isinstance(value, str):
        return None
    if tensor.kind == _BYTES:
        header = npy.read_header(data[start:stop])
        return None if header.fortran_order else Field(header.dtype, header.shape, start + header.offset)
    if tensor.kind != _INT32:
        return Field(_TYPES[tensor.kind], value.shape, start)
    size = varint_size(data[start:stop], value.size)
    return Field(_TYPES[_INT32], value.shape, start, varint=size) if size else None


def _encoded(name: str, value: Value) -> bytes:
    """Write a Value."""
    if isinstance(value, str):
        return wire.field(_BYTES, wire.field(1, value.encode()) + wire.field(2, _TEXT.encode()))
    if isinstance(value, bytes):
        return wire.field(_BYTES, wire.field(1, value))
    array_ = np.asarray(value)
    if array_.dtype == np.uint8:
        return wire.field(_BYTES, wire.field(1, npy.encode(array_)) + wire.field(2, _NPY.encode()))
    kind = _kind(name, array_)
    typed = array_.astype(_TYPES[kind]).reshape(-1)
    values = wire.pack_array(typed) if kind == _INT32 else typed.tobytes()
    plain = array_.ndim == 0 if _is_scalar(name, typed.size) else array_.ndim == 1
    shape = b"" if plain else wire.field(3, wire.pack(array_.shape))
    return wire.field(kind, (wire.field(1, values) if values else b"") + shape)


def _kind(name: str, values: NDArray[Any]) -> int:
    """Type of tensor that holds these numbers."""
    kind = values.dtype.kind
    if kind == "f" and values.itemsize <= 8:
        return _FLOAT64 if values.itemsize == 8 else _FLOAT32
    if kind not in "biu":
        raise FormatError(f"{name!r} holds {values.dtype}, expected numbers, bytes or text.")
    limits = np.iinfo(np.int32)
    if values.size and not limits.min <= int(values.min()) <= int(values.max()) <= limits.max:
        raise FormatError(
            f"{name!r} has values from {values.min()} to {values.max()}, expected {limits.min} to {limits.max}, as "
            f"this format's integers are of 32 bits. Convert it to float64."
        )
    return _INT32
