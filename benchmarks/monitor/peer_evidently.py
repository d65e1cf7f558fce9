"""Judges windows as files with evidently's default test of each column: python peer_evidently.py FOLDER.

Runs in a Python of its own, which has evidently and not this project. What evidently chooses as a column's test, and
where it draws the line, is left to its defaults.
"""

import json
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from evidently import Dataset, Report
from evidently.presets import DataDriftPreset


def drifted(reference: pd.DataFrame, window: pd.DataFrame) -> set[str]:
    """Columns that are said to have drifted."""
    result = Report([DataDriftPreset()]).run(Dataset.from_pandas(window), Dataset.from_pandas(reference))
    found = set()
    for metric in result.dict()["metrics"]:
        config = metric.get("config", {})
        if "column" in config and "threshold" in config:
            value, bound = float(metric["value"]), float(config["threshold"])
            by_p = "p_value" in str(config.get("method", "")) or "p_value" in metric.get("metric_name", "")
            if (value < bound) if by_p else (value >= bound):
                found.add(config["column"])
    return found


def main() -> None:
    """Judge and print a table."""
    folder = Path(sys.argv[1])
    reference = pd.DataFrame(json.loads((folder / "baseline.json").read_text(encoding="utf-8")))
    seen: Counter[tuple[int, float]] = Counter()
    anything: Counter[tuple[int, float]] = Counter()
    right: Counter[tuple[int, float]] = Counter()
    for name, size, shift in json.loads((folder / "plan.json").read_text(encoding="utf-8")):
        columns = drifted(reference, pd.DataFrame(json.loads((folder / name).read_text(encoding="utf-8"))))
        seen[size, shift] += 1
        anything[size, shift] += bool(columns)
        right[size, shift] += "x0" in columns
    print(f"\nevidently {version('evidently')}, default tests\n")
    print(
        "| rows a window | shift | windows | any feature reported | the shifted one reported |\n|---|---|---|---|---|"
    )
    for (size, shift), number in seen.items():
        print(f"| {size:,} | {shift} | {number} | {anything[size, shift]} | {right[size, shift]} |")


if __name__ == "__main__":
    main()
