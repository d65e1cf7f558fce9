"""How many captured rows a second `monitor run` sums up on one core.

    python benchmarks/monitor/throughput.py [--rows 10000000] [--rows-a-line 1 10]

One file of lines as data capture writes them (CSV of 20 numbers in, one number out) is made once and stands in as many
hours as it takes to reach the number of rows; every one of them is read and parsed anew. Prints lines for
benchmarks/results/.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

FEATURES = 20
LINES = 250_000
COMMAND = [sys.executable, "-P", "-m", "twofold.monitor"]


def write_lines(path: Path, rows_a_line: int, lines: int) -> None:
    """Write captured lines of random numbers."""
    rng = np.random.default_rng(0)
    pieces = [f"{value:.6g}" for value in rng.normal(size=100_000)]
    chosen = rng.integers(0, len(pieces), (lines, rows_a_line, FEATURES))
    with path.open("w", encoding="utf-8") as out:
        for number in range(lines):
            rows = "\\n".join(",".join(pieces[place] for place in row) for row in chosen[number].tolist())
            answers = "\\n".join(pieces[place] for place in chosen[number, :, 0].tolist())
            out.write(
                f'{{"captureData":{{"endpointInput":{{"observedContentType":"text/csv","mode":"INPUT","data":"{rows}\\n",'
                f'"encoding":"CSV"}},"endpointOutput":{{"observedContentType":"text/csv; charset=utf-8",'
                f'"mode":"OUTPUT","data":"{answers}\\n","encoding":"CSV"}}}},"eventMetadata":{{"eventId":"0c1b4ad7-9e3f-4cd4-8d31-'
                f'{number:012d}","inferenceTime":"2026-09-01T12:{number % 60:02d}:00Z"}},"eventVersion":"0"}}\n'
            )


def measure(folder: Path, rows_a_line: int, rows: int) -> str:
    """Run once and report."""
    per_file = min(LINES, rows // rows_a_line)
    files = rows // (per_file * rows_a_line)
    source = folder / "captured"
    first = source / "endpoint" / "AllTraffic" / "2026" / "09" / "01" / "12" / "0.jsonl"
    first.parent.mkdir(parents=True)
    write_lines(first, rows_a_line, per_file)
    for number in range(1, files):
        first.with_name(f"{number}.jsonl").symlink_to(first)
    np.savetxt(
        folder / "a.csv", np.random.default_rng(1).normal(size=(50_000, FEATURES + 1)), fmt="%.6g", delimiter=","
    )
    subprocess.run([*COMMAND, "baseline", folder / "a.csv", folder / "base"], check=True, capture_output=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(
        [*COMMAND, "run", source, folder / "out", "--baseline", folder / "base"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    counted = json.loads((folder / "out" / "statistics.json").read_text())["dataset"]["item_count"]
    if counted != files * per_file * rows_a_line:
        raise SystemExit(f"{counted} rows were counted, {files * per_file * rows_a_line} written:\n{done.stderr}")
    size = first.stat().st_size * files
    return (
        f"| {rows_a_line} | {counted:,} | {size / 1e9:.2f} GB | {seconds:.1f} s | {cpu:.1f} s | {counted / cpu:,.0f} | "
        f"{cpu * 10_000_000 / counted:.1f} s | {used.ru_maxrss / 1024:.0f} MB |"
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rows-a-line", type=int, nargs="+", default=[1, 10])
    arguments = parser.parse_args()
    print("| rows a line | rows | read | wall | CPU | rows a CPU second | 10 M rows | peak memory |")
    print("|---|---|---|---|---|---|---|---|")
    for rows_a_line in arguments.rows_a_line:
        folder = Path(tempfile.mkdtemp(prefix="twofold-bench-"))
        try:
            print(measure(folder, rows_a_line, arguments.rows), flush=True)
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
