"""Other drift detectors on the very windows that `monitor` sees: what they find, false alarms, time for a window.

    python -m venv .cache/peers/alibi && .cache/peers/alibi/bin/pip install alibi-detect
    python -m venv .cache/peers/evidently && .cache/peers/evidently/bin/pip install evidently "pandas<3"
    python benchmarks/monitor/peers.py [--windows 12] [--quiet-windows 40]

Windows are drawn once (`windows.py`), written as CSV, and read by all; `peer.py` runs in each peer's environment.
The first of 8 features is shifted by so many standard deviations. Time is CPU time of the process for one window that
is in memory, the baseline learnt: for `monitor` summing it up and all its methods, for others their detector.
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import windows
from pyarrow import csv
from twofold.baseline.statistics import constraints_of, statistics_of
from twofold.baseline.summary import Block
from twofold.monitor.checks import Baseline, check
from twofold.monitor.drift import METHODS
from twofold.monitor.profiles import profile_of_statistics

FEATURES, BASELINE = 8, 10_000
SIZES, SHIFTS = (200, 1000), (0.0, 0.2, 0.3, 0.5)
Found = dict[str, list[tuple[bool, bool, float]]]
"""By detector, for each window: whether anything was reported, whether what drifts was, CPU seconds."""


def ours(reference: Block, blocks: list[Block], size: int) -> Found:
    """What `monitor` finds; its time is that of all methods together."""
    summary = windows.summed(reference, BASELINE)
    profiles = {part.name: profile_of_statistics(part) for part in statistics_of(summary).features}
    baseline = Baseline(constraints_of(summary), profiles)
    found: Found = {f"monitor, {method}": [] for method in METHODS}
    for block in blocks:
        start = time.process_time()
        drifts = check(windows.summed(block, size), baseline).drifts
        seconds = time.process_time() - start
        for method in METHODS:
            names = {drift.name for drift in drifts if drift.drifted(method)}
            found[f"monitor, {method}"].append((bool(names), f"x{windows.DRIFTING}" in names, seconds))
    return found


def theirs(venv: Path, folder: Path) -> Found:
    """What a peer finds in the windows of a folder."""
    command = [str(venv / "bin" / "python"), str(Path(__file__).with_name("peer.py")), venv.name, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {
        name: [tuple(entry) for entry in entries] for name, entries in json.loads(done.stdout.splitlines()[-1]).items()
    }


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venvs", type=Path, default=Path(".cache/peers"))
    parser.add_argument("--peers", nargs="*", default=["alibi", "evidently"])
    parser.add_argument("--windows", type=int, default=12, help="with drift, of each size and shift")
    parser.add_argument("--quiet-windows", type=int, default=40, help="without drift, of each size")
    args = parser.parse_args()
    reference = windows.rows(np.random.default_rng(0), BASELINE, FEATURES)
    print("| rows a window | shift | detector | windows with an alarm | what drifts is found | CPU ms a window |")
    print("|--:|--:|---|--:|--:|--:|")
    for size in SIZES:
        for shift in SHIFTS:
            rng = np.random.default_rng([size, int(100 * shift)])
            number = args.windows if shift else args.quiet_windows
            blocks = [windows.rows(rng, size, FEATURES, shift) for _ in range(number)]
            found = ours(reference, blocks, size)
            with tempfile.TemporaryDirectory() as place:
                for name, block in [("reference", reference), *((f"{n:03}", block) for n, block in enumerate(blocks))]:
                    csv.write_csv(pa.table(block), Path(place, f"{name}.csv"))
                for peer in args.peers:
                    found |= theirs(args.venvs / peer, Path(place))
            for name, entries in found.items():
                any_, right, seconds = (sum(column) for column in zip(*entries, strict=True))
                cells = (
                    f"{any_} of {number} | {f'{right} of {number}' if shift else '-'} | {1000 * seconds / number:.1f}"
                )
                print(f"| {size:,} | {shift} | {name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
