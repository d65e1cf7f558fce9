"""One peer on the windows of a folder; it runs in the peer's own environment: `peer.py alibi|evidently FOLDER`.

Prints, as JSON, by detector and window: whether anything is reported, whether feature x0 is, CPU seconds.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

ALPHA = 0.001
"""Chance of a false alarm for a window: what `monitor`'s test has."""
Detect = Callable[[pd.DataFrame], set[str]]


def alibi(reference: pd.DataFrame) -> Iterator[tuple[str, Detect]]:
    """Kolmogorov-Smirnov and chi-square, corrected for the number of features."""
    from alibi_detect.cd import TabularDrift  # noqa: PLC0415

    words = [place for place, kind in enumerate(reference.dtypes) if not pd.api.types.is_numeric_dtype(kind)]
    codes = {place: sorted(set(reference.iloc[:, place])) for place in words}

    def coded(frame: pd.DataFrame) -> "pd.DataFrame":
        frame = frame.copy()
        for place, values in codes.items():
            name = frame.columns[place]
            frame[name] = frame[name].map({value: code for code, value in enumerate(values)})
        return frame.to_numpy(dtype="float64")

    detector = TabularDrift(coded(reference), p_val=ALPHA, categories_per_feature=dict.fromkeys(words))

    def detect(window: pd.DataFrame) -> set[str]:
        found = detector.predict(coded(window), drift_type="batch")["data"]
        return {name for name, p in zip(window, found["p_val"], strict=True) if p < found["threshold"]}

    yield "alibi-detect TabularDrift", detect


def evidently(reference: pd.DataFrame) -> Iterator[tuple[str, Detect]]:
    """The preset with its defaults: distances with a bound of 0.1 where the baseline has more than 1,000 rows."""
    from evidently import Dataset, Report  # noqa: PLC0415
    from evidently.presets import DataDriftPreset  # noqa: PLC0415

    known = Dataset.from_pandas(reference)

    def detect(window: pd.DataFrame) -> set[str]:
        result = Report([DataDriftPreset()]).run(Dataset.from_pandas(window), known).dict()
        found = set()
        for metric in result["metrics"]:
            config = metric["config"]
            if "column" not in config:
                continue
            is_test = "p_value" in config["method"]
            drifted = metric["value"] < config["threshold"] if is_test else metric["value"] >= config["threshold"]
            found |= {config["column"]} if drifted else set()
        return found

    yield "evidently DataDriftPreset", detect


def main() -> None:
    """Run one peer."""
    peer, folder = sys.argv[1], Path(sys.argv[2])
    frames = {path.stem: pd.read_csv(path) for path in sorted(folder.glob("*.csv"))}
    reference = frames.pop("reference")
    found: dict[str, list[tuple[bool, bool, float]]] = {}
    for name, detect in {"alibi": alibi, "evidently": evidently}[peer](reference):
        for window in frames.values():
            start = time.process_time()
            names = detect(window)
            found.setdefault(name, []).append((bool(names), "x0" in names, time.process_time() - start))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
