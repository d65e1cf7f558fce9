import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twofold.formats.json_values import numeric


@pytest.mark.parametrize(
    ("value", "dtype", "shape"),
    [
        (3, "int64", ()),
        (0.5, "float32", ()),
        (True, "bool", ()),
        ([1, 2], "int64", (2,)),
        ([1, 2.5], "float32", (2,)),
        ([[1], [2], [3]], "int64", (3, 1)),
        ([], "float32", (0,)),
        ([[], []], "float32", (2, 0)),
        (-(2**63), "int64", ()),
    ],
)
def test_numbers_and_even_lists_become_arrays(value, dtype, shape):
    array = numeric(value)
    assert (array.dtype, array.shape) == (np.dtype(dtype), shape)
    np.testing.assert_array_equal(array, np.array(value))


@pytest.mark.parametrize(
    "value",
    [None, "1", {}, ["1"], [1, None], [1, True], [[1], [2, 3]], [[1], 2], [1, [2]], 2**63, 1e39, [[[]] * 2, [[1], []]]],
)
def test_anything_else_does_not(value):
    assert numeric(value) is None


def test_deep_nesting_ends_soon():
    value = 1
    for _ in range(900):
        value = [value]
    assert numeric(value) is None


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_any_value_is_an_array_of_its_own_values_or_none(value):
    array = numeric(value)
    assert array is None or array.shape == np.array(value).shape
