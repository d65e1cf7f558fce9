import contextlib
from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twofold.errors import FormatError
from twofold.formats import wire

INT64 = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(INT64 | st.integers(-200, 200)))
def test_numbers_of_any_length_read_back(values):
    packed = wire.pack(values)
    assert wire.pack_array(np.array(values, dtype=np.int64)) == packed
    assert wire.varints(packed).tolist() == values
    at = 0
    for value in values:
        found, at = wire.varint(packed, at, len(packed))
        assert found == value % 2**64
    assert at == len(packed)


@pytest.mark.parametrize(
    ("value", "data"), [(0, b"\x00"), (127, b"\x7f"), (150, b"\x96\x01"), (-1, b"\xff" * 9 + b"\x01")]
)
def test_numbers_as_the_specification_has_them(value, data):
    assert wire.pack([value]) == data
    assert wire.varints(data).tolist() == [value]


@pytest.mark.parametrize("data", [b"\x80", b"\x01\x80", b"\xff" * 11 + b"\x01", b"\x80" * 10 + b"\x00"])
def test_numbers_without_end_are_refused(data):
    with pytest.raises(FormatError, match="do not end"):
        wire.varints(data)


@given(st.lists(st.tuples(st.integers(1, 2**29 - 1), st.binary(max_size=300))))
def test_fields_are_found_by_place(fields):
    data = b"\xff" + b"".join(wire.field(number, value) for number, value in fields)
    found = list(wire.parts(data, 1, len(data)))
    assert [(part.number, data[part.start : part.stop]) for part in found] == fields
    assert {part.kind for part in found} <= {wire.LENGTH}


def test_every_kind_of_value_is_walked_over():
    data = b"\x08\x96\x01" + b"\x11" + bytes(8) + b"\x1a\x02ab" + b"\x25" + bytes(4)
    expected = [(1, wire.VARINT, 2), (2, wire.FIXED64, 8), (3, wire.LENGTH, 2), (4, wire.FIXED32, 4)]
    assert [(part.number, part.kind, part.stop - part.start) for part in wire.parts(data, 0, len(data))] == expected


@given(st.binary(max_size=60))
def test_any_bytes_are_walked_over_or_refused(data):
    with contextlib.suppress(FormatError):
        for part in wire.parts(data, 0, len(data)):
            assert 0 < part.start <= part.stop <= len(data)


def test_pieces_are_joined():
    assert wire.join(b"abcdef", array("q", [1, 3])) == b"bc"
    assert wire.join(b"abcdef", array("q", [1, 3, 0, 1])) == b"bca"
    assert wire.join(b"abcdef", array("q")) == b""
