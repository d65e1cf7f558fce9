"""The platform's files: shape, content, and read back."""

import numpy as np
import pyarrow as pa
import pytest
from twofold.baseline.statistics import constraints_of, kind_of, statistics_of
from twofold.baseline.summary import Summary


@pytest.fixture(scope="module")
def summary():
    found = Summary()
    found.add(
        {
            "age": np.array([3.0, 4, 5, np.nan]),
            "change": np.array([-0.5, 0, 1.5, 2]),
            "city": pa.array(["Bern", "Bern", None, "Chur"]),
            "none": np.full(4, np.nan),
        },
        4,
    )
    return found


def test_statistics(summary):
    content = statistics_of(summary).model_dump(exclude_none=True)
    assert content["version"] == 0.0
    assert content["dataset"] == {"item_count": 4}
    age, change, city, none = content["features"]
    assert [part["inferred_type"] for part in (age, change, city, none)] == [
        "Integral",
        "Fractional",
        "String",
        "Unknown",
    ]
    numbers = age["numerical_statistics"]
    assert numbers["common"] == {"num_present": 3, "num_missing": 1}
    assert (numbers["mean"], numbers["sum"], numbers["min"], numbers["max"]) == (4, 12, 3, 5)
    assert numbers["std_dev"] == pytest.approx(np.std([3, 4, 5]))
    kll = numbers["distribution"]["kll"]
    assert len(kll["buckets"]) == 10
    assert sum(bucket["count"] for bucket in kll["buckets"]) == pytest.approx(3)
    assert kll["sketch"]["parameters"] == {"c": 0.64, "k": 2048.0}
    assert sorted(kll["sketch"]["data"][0]) == [3, 4, 5]
    texts = city["string_statistics"]
    assert texts["distinct_count"] == 2
    assert texts["distribution"]["categorical"]["buckets"] == [
        {"value": "Bern", "count": 2},
        {"value": "Chur", "count": 1},
    ]
    assert (texts["lengths"]["min"], texts["lengths"]["max"]) == (4, 4)
    assert none["numerical_statistics"] == {"common": {"num_present": 0, "num_missing": 4}}


def test_constraints(summary):
    age, change, city, none = constraints_of(summary).features
    assert (age.completeness, age.num_constraints.is_non_negative) == (0.75, True)
    assert change.num_constraints.is_non_negative is False
    assert city.string_constraints.domains == ["Bern", "Chur"]
    assert none.completeness == 0


def test_free_text_has_no_domain():
    found = Summary()
    found.add({"s": pa.array([f"text {place}" for place in range(101)])}, 101)
    assert constraints_of(found).features[0].string_constraints is None
    assert kind_of(found.features["s"]) == "String"
