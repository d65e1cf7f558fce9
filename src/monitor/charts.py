"""Charts of the report: pictures in the page itself, without scripts and without anything from elsewhere."""

from collections.abc import Mapping, Sequence

import numpy as np
import pygal
from pygal.style import Style

from ..baseline.quantiles import Distribution
from ..charts import svg
from .profiles import Profile

BEFORE, NOW, THRESHOLD = "#4477aa", "#ee6677", "#222222"
_BINS, _CATEGORIES, _LABELS, _LETTERS = 40, 12, 7, 12
_TAIL = 0.001
_SIZE = {
    "width": 620,
    "height": 300,
    "margin": 6,
    "max_scale": 6,
    "truncate_label": -1,
    "legend_at_bottom": True,
    "value_formatter": "{:.4g}".format,
    "x_value_formatter": "{:.4g}".format,
}


def distributions(before: Profile, now: Profile) -> str:
    """Draw two distributions over each other, as SVG."""
    if before.numbers is not None and now.numbers is not None:
        return _histograms(before.numbers, now.numbers)
    return _bars(before.categories or {}, now.categories or {})


def over_time(hours: Sequence[str], values: Sequence[float | None], threshold: float | None) -> str:
    """Draw a number of each hour, and its threshold, as SVG."""
    chart = pygal.Line(
        **_SIZE,
        style=_style(NOW, THRESHOLD),
        range=(0, max([threshold or 0.0, *(value for value in values if value is not None)]) * 1.1 or 1.0),
    )
    chart.x_labels = _hour_labels(hours)
    chart.add("this hour", list(values))
    if threshold is not None:
        chart.add(
            "threshold", [threshold] * len(hours), show_dots=False, stroke_style={"width": 2, "dasharray": "6, 4"}
        )
    return svg(chart)


def _hour_labels(hours: Sequence[str]) -> list[str]:
    """Label so many hours as there is room for; the day only where there are several."""
    every = -(-len(hours) // _LABELS)
    start = 11 if len({hour[:10] for hour in hours}) == 1 else 5
    return [f"{hour[start:].replace('T', ' ')} h" if not place % every else "" for place, hour in enumerate(hours)]


def shown_range(before: Distribution, now: Distribution) -> tuple[float, float]:
    """Range that a picture shows: without the thousandth part at either end, which would make the rest a needle."""
    low = min(side.quantile(_TAIL) for side in (before, now))
    high = max(side.quantile(1 - _TAIL) for side in (before, now))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def bins(before: Distribution, now: Distribution) -> tuple[list[float], list[float], list[float]]:
    """Edges of bars, and the share of each side in them."""
    steps = np.union1d(before.values, now.values)
    if len(steps) <= _BINS:
        # Few values, such as whole numbers: one bar for each.
        edges = np.concatenate(([steps[0] - 0.5], (steps[1:] + steps[:-1]) / 2, [steps[-1] + 0.5]))
    elif (steps == np.rint(steps)).all():
        # A bar must hold as many whole numbers as its neighbours.
        low, high = shown_range(before, now)
        width = -(-(high - low + 1) // _BINS)
        edges = np.arange(low - 0.5, high + width, width)
    else:
        edges = np.linspace(*shown_range(before, now), _BINS + 1)
    return edges.tolist(), before.between(edges).tolist(), now.between(edges).tolist()


def _histograms(before: Distribution, now: Distribution) -> str:
    edges, first, second = bins(before, now)
    chart = pygal.Histogram(**_SIZE, style=_style(BEFORE, NOW))
    chart.x_labels = [_rounded(value) for value in np.linspace(edges[0], edges[-1], _LABELS)]
    for name, shares in (("baseline", first), ("this window", second)):
        bars = zip(shares, edges[:-1], edges[1:], strict=True)
        chart.add(name, [(share, low, high) for share, low, high in bars if share > 0])
    return svg(chart)


def _bars(before: Mapping[str, int], now: Mapping[str, int]) -> str:
    shares = {name: _shares(side) for name, side in (("baseline", before), ("this window", now))}
    names = sorted(before.keys() | now.keys(), key=lambda name: -max(side.get(name, 0) for side in shares.values()))
    chart = pygal.Bar(**_SIZE, style=_style(BEFORE, NOW))
    chart.x_labels = [name if len(name) <= _LETTERS else name[: _LETTERS - 1] + "…" for name in names[:_CATEGORIES]]
    for name, side in shares.items():
        chart.add(name, [side.get(category, 0.0) for category in names[:_CATEGORIES]])
    return svg(chart)


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _shares(counts: Mapping[str, int]) -> dict[str, float]:
    total = sum(counts.values())
    return {name: count / total for name, count in counts.items()}


def _style(*colors: str) -> Style:
    return Style(
        colors=colors,
        background="transparent",
        plot_background="transparent",
        foreground="#333333",
        foreground_strong="#111111",
        foreground_subtle="#777777",
        guide_stroke_color="#dddddd",
        guide_stroke_dasharray="0",
        major_guide_stroke_color="#dddddd",
        major_guide_stroke_dasharray="0",
        opacity=".55",
        opacity_hover=".8",
        transition="0s",
        font_family="system-ui, sans-serif",
        label_font_size=13,
        major_label_font_size=13,
        legend_font_size=14,
    )
