"""Values of requests find their features."""

import numpy as np
import pyarrow as pa
from twofold.monitor.align import Alignment, guess_label


def test_places_find_their_names():
    alignment = Alignment(("label", "a", "b"), "label")
    assert list(alignment.names(2)) == ["a", "b"]
    assert list(alignment.names(3)) == ["label", "a", "b"]
    assert list(alignment.names(1)) == ["a"]
    assert list(alignment.names(5)) == ["a", "b", "_c2", "_c3", "_c4"]


def test_the_label_may_have_any_name():
    alignment = Alignment(("price", "a", "b"))
    assert list(alignment.names(2)) == ["a", "b"]
    assert alignment.label == "price"
    assert guess_label(("a", "label")) == "label"
    assert guess_label(("a", "b"), 2) is None


def test_without_a_baseline_names_are_the_platforms():
    assert list(Alignment().names(2)) == ["_c0", "_c1"]


def test_numbers_are_taken_out_of_text():
    alignment = Alignment(("a",), None, {"a": False})
    numbers, texts = alignment.columns("a", pa.array(["1", " 2.5e1", None, "nan", "x", ""]))
    np.testing.assert_array_equal(numbers, [1, 25, np.nan, np.nan, np.nan])
    assert texts.to_pylist() == ["x"]
    (numbers,) = alignment.columns("a", pa.array(["1"]))
    assert numbers.tolist() == [1]


def test_codes_are_text_when_the_baseline_says_so():
    (texts,) = Alignment(("a",), None, {"a": True}).columns("a", np.array([7.0, np.nan]))
    assert texts.to_pylist() == ["7", None]


def test_without_a_baseline_the_first_values_decide():
    alignment = Alignment()
    alignment.columns("a", pa.array(["x"]))
    (texts,) = alignment.columns("a", np.array([1.0]))
    assert texts.to_pylist() == ["1"]
