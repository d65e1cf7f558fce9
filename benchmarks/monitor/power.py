"""How much drift `monitor run` finds, and how often it cries wolf, on seeded windows.

    python benchmarks/monitor/power.py [--windows 1000]

Without drift: windows in which any feature is reported, of 1,000 for each size and method. With drift: the first of 20
features is shifted by so many standard deviations; windows in which it is reported.
"""

import argparse
import time
from collections.abc import Iterator

import numpy as np
import windows
from twofold.baseline.summary import Block
from twofold.monitor.drift import METHODS

FEATURES, BASELINE = 20, 50_000
SIZES = (100, 1000, 5000)
SHIFTS = (0.1, 0.2, 0.3, 0.5, 1.0)


def drawn(seed: int, number: int, size: int, shift: float) -> Iterator[Block]:
    """Draw windows; the same for whoever asks."""
    rng = np.random.default_rng(seed)
    return (windows.rows(rng, size, FEATURES, shift) for _ in range(number))


def main() -> None:
    """Measure and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=1000)
    arguments = parser.parse_args()
    baseline = windows.baseline_of(np.random.default_rng(0), BASELINE, FEATURES)
    started = time.perf_counter()
    print(f"| rows a window | {' | '.join(METHODS)} |\n|---|{'---|' * len(METHODS)}")
    for size in SIZES:
        found = windows.alarms(baseline, drawn(1, arguments.windows, size, 0.0), size)
        cells = [f"{anything} of {arguments.windows:,}" for anything, _ in found.values()]
        print(f"| {size:,} | {' | '.join(cells)} |", flush=True)
    number = max(arguments.windows // 10, 10)
    print(f"\n| rows a window | shift | {' | '.join(METHODS)} |\n|---|---|{'---|' * len(METHODS)}")
    for size in SIZES:
        for shift in SHIFTS:
            found = windows.alarms(baseline, drawn(2, number, size, shift), size)
            cells = [f"{100 * right / number:.0f}%" for _, right in found.values()]
            print(f"| {size:,} | {shift} | {' | '.join(cells)} |", flush=True)
    print(f"\n{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
