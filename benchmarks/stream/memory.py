"""Does the memory of our loader grow with the data? Peak anonymous memory with 200 MB and with 20 GB.

    python benchmarks/stream/memory.py

Large data without a large disk: RecordIO shards that are hard links to one valid shard of 200 MB, and NPY shards whose
rows are holes. Each run is a process of its own that shuffles and goes through --steps batches.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import machine
import numpy as np
from cases import CASES, Source
from peers import ours

SHARD = 200_000_000
BATCH = 256


def main() -> None:
    """Measure and print a table."""
    args = arguments()
    if args.one:
        go_through(args.one, args.steps)
        return
    print("\n## Memory with 200 MB and with 20 GB\n")
    print("| data | bytes | records | peak anonymous MB | of it after the imports | samples/s |")
    print("|---|---:|---:|---:|---:|---:|")
    for form in ("recordio", "npy"):
        peaks = []
        for shards in (1, args.shards):
            folder = args.work.resolve() / "memory" / f"{form}-{shards}"
            if not folder.exists():
                make(form, folder, shards)
            command = [sys.executable, __file__, "--one", str(folder), "--steps", str(args.steps)]
            runs = [machine.run(command, machine.environ(args.work), 1800) for _ in range(args.rounds)]
            peaks.append(sorted(run.anonymous for run in runs)[len(runs) // 2])
            result = runs[-1].result
            size = sum(path.stat().st_size for path in folder.iterdir())
            numbers = f"{peaks[-1] / 1e6:.1f} | {(peaks[-1] - result['base']) / 1e6:.1f} | {result['rate']:,.0f}"
            print(f"| {form} | {size:,} | {result['records']:,} | {numbers} |")
        print(f"\n{form}: {peaks[1] / peaks[0] - 1:+.1%} (asked: within 10%)\n")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("build/bench/stream"), help="data (default %(default)s)")
    parser.add_argument(
        "--shards", type=int, default=100, help="shards of 200 MB of the large data (default %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=20_000, help="batches of a run (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each; medians are shown (default %(default)s)")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def make(form: str, folder: Path, shards: int) -> None:
    """Write the data."""
    folder.mkdir(parents=True)
    if form == "npy":
        for shard in range(shards):
            shape = (SHARD // 256, 64)
            np.lib.format.open_memmap(folder / f"{shard:03d}.npy", mode="w+", dtype="float32", shape=shape)
        return
    first = folder / "000.recordio"
    records = SHARD // 300
    source = Source(replace(CASES["float32"], records=records), folder.parent / "source")
    source.make()
    ours.write_shard(source, first, range(records), "recordio")
    for shard in range(1, shards):
        (folder / f"{shard:03d}.recordio").hardlink_to(first)


def go_through(folder: Path, steps: int) -> None:
    """Read batches, starting epochs anew as they end."""
    base = machine.memory(os.getpid())["RssAnon"]
    with tempfile.TemporaryDirectory() as scratch:
        loader = ours.open_loader(folder, BATCH, scratch=Path(scratch))
        left, start = steps, time.perf_counter()
        while left:
            for _ in loader:
                left -= 1
                if not left:
                    break
        rate = steps * BATCH / (time.perf_counter() - start)
        print(json.dumps({"rate": rate, "records": len(loader.dataset), "base": base}))


if __name__ == "__main__":
    main()
