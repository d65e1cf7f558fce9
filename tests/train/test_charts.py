import xml.etree.ElementTree as ET

import pytest
from twofold.train.charts import line_chart


@pytest.mark.parametrize(
    "points",
    [[], [(1, 0.5)], [(1, 0.5), (2, 0.5)], [(step, 1e6 / step) for step in range(1, 300)], [(1, -3.0), (2, 0.0)]],
    ids=["none", "one", "flat", "many", "negative"],
)
@pytest.mark.parametrize("from_zero", [False, True])
def test_any_points_are_a_chart_without_a_script(points, from_zero):
    svg = line_chart(
        "loss <b>", {"train:loss": points, "validation:loss": points}, x_title="epoch", from_zero=from_zero
    )
    root = ET.fromstring(svg)
    assert root.tag.endswith("svg")
    assert "<script" not in svg
    assert "loss &lt;b" in svg


def test_dots_mark_few_points_only():
    few, many = ([(step, step) for step in range(count)] for count in (5, 100))
    assert 'class="dot' in line_chart("loss", {"a": few}, x_title="epoch")
    assert 'class="dot' not in line_chart("loss", {"a": many}, x_title="epoch")
