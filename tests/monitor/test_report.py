"""The report: what is in it, in which order, and that nothing in it comes from elsewhere."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from twofold.baseline.statistics import constraints_of, statistics_of
from twofold.baseline.summary import Summary
from twofold.errors import ConfigError
from twofold.monitor.checks import Baseline, check
from twofold.monitor.profiles import profile_of_feature, profile_of_statistics
from twofold.monitor.report import Material, write_report

NAMES = ["calm", "moved <b>", "text"]


def summed(shift, rows=600):
    rng = np.random.default_rng(int(10 * shift))
    import pyarrow as pa

    summary = Summary()
    texts = pa.array(rng.choice(["a", "b & <script>"], rows))
    summary.add({"calm": rng.integers(0, 90, rows) * 1.0, "moved <b>": rng.normal(shift, 1, rows), "text": texts}, rows)
    return summary


@pytest.fixture(scope="module")
def material():
    before = summed(0.0)
    profiles = {part.name: profile_of_statistics(part) for part in statistics_of(before).features}
    baseline = Baseline(constraints_of(before), profiles)
    windows = {f"2026-11-25T{hour}": summed(shift) for hour, shift in ((13, 0.1), (14, 2.0))}
    whole = Summary()
    for window in windows.values():
        whole.merge(window)
    findings = check(whole, baseline)
    hours = {hour: check(window, baseline) for hour, window in windows.items()}
    pairs = {name: (profiles[name], profile_of_feature(whole.features[name], profiles[name])) for name in NAMES}
    metrics = {"regression_metrics": {"mae": {"value": 0.25}}}
    return Material(
        "captured", whole.rows, 3, "distance", findings.violations, findings, hours, pairs, metrics,
        dict.fromkeys(hours, metrics),
    )  # fmt: skip


class Page(HTMLParser):
    """Tags and headings of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.headings, self._inside = [], [], False

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._inside = tag == "h3"
        if self._inside:
            self.headings.append("")

    def handle_endtag(self, tag):
        self._inside = self._inside and tag != "h3"

    def handle_data(self, data):
        if self._inside:
            self.headings[-1] += data


@pytest.fixture(scope="module")
def text(material, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write_report(folder, material)
    return (folder / "report.html").read_text()


def test_the_worst_feature_comes_first(text):
    page = Page()
    page.feed(text)
    assert page.headings[:2] == ["mae: 0.25", "moved <b>"]
    assert set(page.headings[1:]) == set(NAMES)
    # Two pictures a feature, one of the metric.
    assert page.tags.count("svg") == 7


def test_names_of_others_are_text(text):
    page = Page()
    page.feed(text)
    assert "script" not in page.tags
    assert "b" not in page.tags


def test_nothing_comes_from_elsewhere(text):
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", text)
    assert not re.findall(r"@import|url\((?!#)", text)


def test_what_it_says(text):
    text = " ".join(text.split())
    assert "1 violations" in text
    assert "1,200 rows in 2 hours, 2026-11-25 13 h" in text
    assert "3 lines or bodies could not be read" in text
    assert text.count('class="panel drifted"') == 1


def test_a_picture_where_matplotlib_is(material, tmp_path, monkeypatch):
    write_report(tmp_path, material, picture=True)
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "report.png").unlink()
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="--png needs matplotlib"):
        write_report(tmp_path, material, picture=True)
    write_report(tmp_path, material)
    assert not (tmp_path / "report.png").exists()
