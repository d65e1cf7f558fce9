"""tf.train.Example, the record that TensorFlow's tools write: named lists of bytes, floats or integers.

    Example  { Features features = 1 }     Features { map<string, Feature> feature = 1 }
    Feature  { oneof { BytesList bytes_list = 1, FloatList float_list = 2, Int64List int64_list = 3 } }
    each list { repeated value = 1 }

A list of one value is a scalar here, as nearly all labels and images are; its writer did not say which it meant.
Source: `tensorflow/core/example/example.proto` and `feature.proto`.
"""

from array import array
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from . import wire
from .layout import Field, Sample, Value, varint_size

_BYTES, _FLOAT, _INT64 = 1, 2, 3
_TYPES: dict[int, np.dtype[Any]] = {_FLOAT: np.dtype("<f4"), _INT64: np.dtype("<i8")}
_KINDS = {_BYTES: wire.LENGTH, _FLOAT: wire.FIXED32, _INT64: wire.VARINT}


class _Feature(NamedTuple):
    """One feature, by its place in the record."""

    name: str
    kind: int
    values: wire.Spans


def decode(data: bytes, start: int, stop: int) -> Sample:
    """Read the Example in [start, stop) of a record.

    Raises:
        FormatError: names the byte, counted from the start of the record.
    """
    return {feature.name: _value(data, feature) for feature in _features(data, start, stop)}


def encode(sample: Sample) -> bytes:
    """Write an Example, without frame; arrays are flattened, since a list has no shape.

    Integers become int64, floats float32, arrays of uint8 and text one piece of bytes.

    Raises:
        FormatError: a value that the format cannot hold, by its name.
    """
    entries = [
        wire.field(1, wire.field(1, name.encode()) + wire.field(2, _encoded(name, value)))
        for name, value in sample.items()
    ]
    return wire.field(1, b"".join(entries))


def fields(data: bytes, start: int, stop: int) -> dict[str, Field] | None:
    """Where the values of an Example lie, or None where a list is empty or not one run of bytes."""
    found: dict[str, Field] = {}
    for feature in _features(data, start, stop):
        place = _field(data, feature)
        if place is None or feature.name in found:
            return None
        found[feature.name] = place
    return found


def _features(data: bytes, start: int, stop: int) -> list[_Feature]:
    features: list[_Feature] = []
    for part in wire.parts(data, start, stop):
        if part.number == 2:
            raise FormatError(
                f"found a field of number 2 at byte {part.start} of the record: it is a SequenceExample, expected "
                f"an Example. Write each step, or all steps flattened, as an Example."
            )
        if part.number != 1:
            continue
        wire.only(part, wire.LENGTH, "the features")
        features += [
            _entry(data, wire.only(entry, wire.LENGTH, "a feature"))
            for entry in wire.parts(data, part.start, part.stop)
            if entry.number == 1
        ]
    return features


def _entry(data: bytes, entry: wire.Part) -> _Feature:
    name, kind, values = "", 0, array("q")
    for part in wire.parts(data, entry.start, entry.stop):
        if part.number == 1:
            name = wire.text(data, wire.only(part, wire.LENGTH, "a feature's name"))
        elif part.number == 2:
            wire.only(part, wire.LENGTH, "a feature")
            for inner in wire.parts(data, part.start, part.stop):
                if inner.number in _KINDS:
                    if inner.number != kind:
                        kind, values = inner.number, array("q")
                    _read_list(data, inner, values)
    return _Feature(name, kind, values)


def _read_list(data: bytes, values: wire.Part, spans: wire.Spans) -> None:
    """Read one list: each of its pieces is one value, or, unless it is of bytes, many."""
    scalar = _KINDS[values.number]
    wire.only(values, wire.LENGTH, "a list of values")
    for part in wire.parts(data, values.start, values.stop):
        if part.number == 1:
            wire.add(spans, part if part.kind == wire.LENGTH else wire.only(part, scalar, "a value of a list"))


def _value(data: bytes, feature: _Feature) -> Value:
    if feature.kind == _BYTES:
        return wire.pieces(data, feature.values)
    if not feature.kind:
        return np.empty(0, dtype=np.float32)
    raw = wire.join(data, feature.values)
    if feature.kind == _INT64:
        values: NDArray[Any] = wire.varints(raw)
    else:
        values = wire.numbers(raw, _TYPES[_FLOAT], feature.name)
    return values.reshape(()) if len(values) == 1 else values


def _field(data: bytes, feature: _Feature) -> Field | None:
    if len(feature.values) != 2:
        return None
    start, stop = feature.values
    if feature.kind == _BYTES:
        return Field(np.dtype(np.uint8), (stop - start,), start, raw=True)
    value = _value(data, feature)
    if not isinstance(value, np.ndarray) or not value.size:
        return None
    if feature.kind == _FLOAT:
        return Field(_TYPES[_FLOAT], value.shape, start)
    size = varint_size(data[start:stop], value.size)
    return Field(_TYPES[_INT64], value.shape, start, varint=size) if size else None


def _encoded(name: str, value: Value) -> bytes:
    """Write a Feature."""
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return wire.field(_BYTES, wire.field(1, value))
    values = np.asarray(value)
    if values.dtype == np.uint8:
        return wire.field(_BYTES, wire.field(1, values.tobytes()))
    kind = values.dtype.kind
    if kind == "O" and all(isinstance(piece, bytes) for piece in values.flat):
        return wire.field(_BYTES, b"".join(wire.field(1, piece) for piece in values.flat))
    if kind == "f":
        packed, number = values.astype(_TYPES[_FLOAT]).tobytes(), _FLOAT
    elif kind in "biu" and not (kind == "u" and values.size and int(values.max()) > np.iinfo(np.int64).max):
        packed, number = wire.pack_array(values.reshape(-1)), _INT64
    else:
        raise FormatError(f"{name!r} holds {values.dtype}, expected floats, integers up to 2^63 - 1, bytes or text.")
    return wire.field(number, wire.field(1, packed) if packed else b"")
