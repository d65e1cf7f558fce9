"""The report of a run: one page without scripts, the features that moved most first, and the same as a picture."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from ..baseline.schema import Violation
from ..errors import ConfigError
from . import charts
from .checks import Findings
from .drift import Drift, Method
from .profiles import Profile

MAX_FEATURES = 100
"""Most features that are drawn; the others are in drift.json."""
_PICTURED = 12
_TEMPLATE = Path(__file__).with_name("report.html")


@dataclass(frozen=True, slots=True)
class Material:
    """What a report is made of."""

    source: str
    rows: int
    malformed: int
    method: Method
    violations: Sequence[Violation]
    whole: Findings
    hours: Mapping[str, Findings]
    profiles: Mapping[str, tuple[Profile, Profile]]
    """By feature: the baseline, and this window."""
    quality: Mapping[str, Mapping[str, Any]]
    """Metrics of the model."""
    quality_hours: Mapping[str, Mapping[str, Mapping[str, Any]]]
    """The same by the hour."""


@dataclass(frozen=True, slots=True)
class _Panel:
    drift: Drift
    drifted: bool
    distributions: Markup
    over_time: Markup | None


def write_report(folder: Path, material: Material, *, picture: bool = False) -> None:
    """Write report.html, and, when a picture is asked for, report.png.

    Raises:
        ConfigError: a picture needs matplotlib, which is not installed.
    """
    if picture and importlib.util.find_spec("matplotlib") is None:
        raise ConfigError(
            "--png needs matplotlib, which is not installed (it is no part of the image). Expected it beside twofold: "
            "pip install matplotlib, or leave --png out; report.html has all pictures."
        )
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    material = replace(material, whole=replace(material.whole, drifts=_worst_first(material)))
    drifts = material.whole.drifts
    text = template.render(
        material=material,
        hours=sorted(material.hours),
        panels=[_panel(material, drift) for drift in drifts[:MAX_FEATURES]],
        left=max(0, len(drifts) - MAX_FEATURES),
        metrics=_metrics(material),
        before=charts.BEFORE,
        now=charts.NOW,
    )
    (folder / "report.html").write_text(text, encoding="utf-8")
    if picture and drifts:
        _write_picture(folder / "report.png", material)


def _worst_first(material: Material) -> list[Drift]:
    """Order features by the hour in which they were farthest from the baseline, or by the whole if that was farther."""
    worst: dict[str, float] = {}
    for findings in (material.whole, *material.hours.values()):
        for drift in findings.drifts:
            worst[drift.name] = max(worst.get(drift.name, 0.0), _number(drift, material.method))
    return sorted(material.whole.drifts, key=lambda drift: -worst[drift.name])


def _panel(material: Material, drift: Drift) -> _Panel:
    before, now = material.profiles[drift.name]
    hours = sorted(material.hours)
    by_hour = [{part.name: part for part in material.hours[hour].drifts}.get(drift.name) for hour in hours]
    values = [None if part is None else _number(part, material.method) for part in by_hour]
    threshold = drift.bound(material.method)
    return _Panel(
        drift,
        drift.drifted(material.method) or any(part and part.drifted(material.method) for part in by_hour),
        _safe(charts.distributions(before, now)),
        _safe(charts.over_time(hours, values, threshold)) if len(hours) > 1 else None,
    )


def _number(drift: Drift, method: Method) -> float:
    return {"distance": drift.distance, "psi": drift.psi, "test": drift.simple}[method]


def _metrics(material: Material) -> list[tuple[str, float, Markup | None]]:
    """Name and value of each metric of the model, and its course."""
    found = []
    for group, metrics in material.quality.items():
        for name, part in metrics.items():
            if isinstance(part.get("value"), float):
                hours = sorted(material.quality_hours)
                course = [material.quality_hours[hour].get(group, {}).get(name, {}).get("value") for hour in hours]
                values = [value if isinstance(value, float) else None for value in course]
                chart = _safe(charts.over_time(hours, values, None)) if len(hours) > 1 else None
                found.append((name, part["value"], chart))
    return found


def _safe(svg: str) -> Markup:
    """Mark a chart as markup: its library has escaped every text in it."""
    return Markup(svg)  # noqa: S704 - nothing but what the charts have drawn


def _write_picture(path: Path, material: Material) -> None:
    """Draw the worst features with matplotlib, which is imported only here: it is no part of the image."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - not everywhere

    drifts = material.whole.drifts[:_PICTURED]
    columns = min(len(drifts), 3)
    rows = -(-len(drifts) // columns)
    figure = Figure(figsize=(5 * columns, 3 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for place, axis in enumerate(axes.flat):
        if place >= len(drifts):
            axis.set_visible(False)
            continue
        drift = drifts[place]
        before, now = material.profiles[drift.name]
        if before.numbers is not None and now.numbers is not None:
            edges, first, second = charts.bins(before.numbers, now.numbers)
            axis.stairs(first, edges, fill=True, alpha=0.55, color=charts.BEFORE, label="baseline")
            axis.stairs(second, edges, fill=True, alpha=0.55, color=charts.NOW, label="this window")
        else:
            for side, color, name in ((before, charts.BEFORE, "baseline"), (now, charts.NOW, "this window")):
                counts = dict(sorted((side.categories or {}).items(), key=lambda item: -item[1])[:12])
                axis.bar(list(counts), [n / side.count for n in counts.values()], alpha=0.55, color=color, label=name)
        mark = ", drifted" if drift.drifted(material.method) else ""
        axis.set_title(f"{drift.name.replace('$', '')[:40]}: {_number(drift, material.method):.3g}{mark}", fontsize=10)
    axes.flat[0].legend()
    figure.savefig(path, dpi=100)
