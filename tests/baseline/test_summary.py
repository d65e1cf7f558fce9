"""Summaries against numpy, merged in any grouping, through JSON and back."""

import json

import numpy as np
import pyarrow as pa
import pytest
from twofold.baseline.summary import MAX_CATEGORIES, Feature, Summary


def block_of(rng, rows):
    numbers = rng.normal(1e6, 1.0, rows)
    numbers[::10] = np.nan
    texts = [None if place % 7 == 0 else "abc"[place % 3] for place in range(rows)]
    return {"x": numbers, "n": rng.integers(-3, 9, rows).astype(float), "s": pa.array(texts, pa.string())}


def summed(blocks):
    summary = Summary()
    for block in blocks:
        summary.add(block, len(block["x"]))
    return summary


def test_statistics_are_numpys():
    block = block_of(np.random.default_rng(1), 5000)
    feature = summed([block]).features["x"]
    values = block["x"][np.isfinite(block["x"])]
    assert (feature.present, feature.missing) == (4500, 500)
    moments = feature.numbers.moments
    assert moments.mean == pytest.approx(values.mean(), rel=1e-12)
    assert moments.std == pytest.approx(values.std(), rel=1e-9)
    assert (moments.minimum, moments.maximum) == (values.min(), values.max())


def test_any_grouping_gives_the_same():
    rng = np.random.default_rng(2)
    blocks = [block_of(rng, rows) for rows in (1, 700, 3000, 40)]
    one = summed(blocks)
    parts = [Summary.from_json(json.loads(json.dumps(summed([block]).to_json()))) for block in blocks]
    merged = Summary()
    for part in reversed(parts):
        merged.merge(part)
    assert merged.rows == one.rows
    for name, feature in one.features.items():
        other = merged.features[name]
        assert (feature.present, feature.missing) == (other.present, other.missing)
        assert (feature.numbers.whole, feature.numbers.negative) == (other.numbers.whole, other.numbers.negative)
        assert feature.numbers.moments.mean == pytest.approx(other.numbers.moments.mean, rel=1e-12)
        assert feature.numbers.moments.std == pytest.approx(other.numbers.moments.std, rel=1e-6)
        assert feature.texts.categories == other.texts.categories
        assert feature.texts.distinct == other.texts.distinct


def test_many_texts_are_estimated_in_constant_memory():
    feature = Feature()
    for start in range(0, 50_000, 5_000):
        feature.add(pa.array([f"user-{place % 20_000}" for place in range(start, start + 5_000)]))
    assert feature.texts.categories is None
    assert feature.texts.distinct == pytest.approx(20_000, rel=0.06)
    few = Feature()
    few.add(pa.array(["a"] * MAX_CATEGORIES))
    few.merge(feature)
    assert few.texts.categories is None
    assert few.present == 50_000 + MAX_CATEGORIES


def test_nothing_but_missing():
    feature = Feature()
    feature.add(np.full(3, np.nan))
    feature.add(pa.array([None, None], pa.string()))
    assert (feature.present, feature.missing) == (0, 5)
