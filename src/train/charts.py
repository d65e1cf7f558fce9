"""Line charts of a run as SVG to be put into a page: no script, no font and no image from elsewhere."""

from collections.abc import Mapping, Sequence

import pygal
from pygal.style import Style

from ..charts import svg

Points = Sequence[tuple[float, float]]

COLOURS = ("#2563eb", "#ea580c", "#059669", "#7c3aed")
MANY_POINTS = 40
"""Points of a line beyond which they are not marked one by one."""


def line_chart(title: str, lines: Mapping[str, Points], *, x_title: str, from_zero: bool = False) -> str:
    """Draw lines over a common axis.

    Args:
        title: what is measured, with its unit.
        lines: points of each line by its name.
        x_title: what the common axis counts.
        from_zero: whether the other axis starts at 0.
    """
    style = Style(
        background="transparent",
        plot_background="transparent",
        foreground="#475569",
        foreground_strong="#0f172a",
        foreground_subtle="#e2e8f0",
        guide_stroke_color="#e2e8f0",
        major_guide_stroke_color="#e2e8f0",
        font_family="inherit",
        title_font_size=15,
        label_font_size=13,
        major_label_font_size=13,
        legend_font_size=14,
        colors=COLOURS,
    )
    longest = max((len(points) for points in lines.values()), default=0)
    chart = pygal.XY(
        style=style,
        title=title,
        x_title=x_title,
        width=640,
        height=340,
        margin=12,
        legend_at_bottom=True,
        show_legend=len(lines) > 1,
        show_x_guides=False,
        show_dots=longest <= MANY_POINTS,
        dots_size=3,
        stroke_style={"width": 2},
        range=_range(lines, from_zero=from_zero),
        x_value_formatter=_short,
        value_formatter=_short,
        truncate_legend=-1,
    )
    for name, points in lines.items():
        chart.add(name, list(points))
    return svg(chart)


def _range(lines: Mapping[str, Points], *, from_zero: bool) -> tuple[float, float] | None:
    """Bounds of the axis; pygal draws no line whose values are all the same without them."""
    values = [value for points in lines.values() for _, value in points]
    if not values:
        return None
    low, high = min(values), max(values)
    low = min(low, 0.0) if from_zero else low
    margin = (high - low) * 0.05 or abs(high) * 0.1 or 1.0
    return (low if from_zero else low - margin, high + margin)


def _short(value: float) -> str:
    if abs(value) >= 10_000:
        return f"{value:,.0f}"
    return f"{value:.4g}"
