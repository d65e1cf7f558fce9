"""How long until the first batch? On 1,000 shards with their index, and on unprepared files of 1 GB at first sight.

    python benchmarks/stream/first_batch.py

Each run is a new process; the clock starts after the imports and runs from the path to the first batch. The page
cache is warm.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import machine
from cases import CASES, Case, Source
from peers import ours
from twofold.formats import aialgs
from twofold.stream import index

SHARDS = 1_000
RECORDS = 1_000
"""Records of each of the 1,000 shards."""
LARGE = 1_000_000_000
ASKED = {"indexed": 0.1, "recordio": 0.5, "tfrecord": 0.5}
TITLES = {
    "indexed": "1,000 shards of RecordIO-protobuf with their index",
    "recordio": "one RecordIO-protobuf file of 1 GB, not indexed",
    "tfrecord": "one TFRecord file of 1 GB, not indexed",
}


def main() -> None:
    """Measure and print a table."""
    args = arguments()
    if args.one:
        first_batch(args.one)
        return
    print("\n## First batch\n")
    print("| | first batch, s: median | lowest to highest | asked |\n|---|---:|---:|---:|")
    for name, title in TITLES.items():
        folder = args.work.resolve() / "first" / name
        if not folder.exists():
            make(name, folder)
        machine.warm(folder)
        command = [sys.executable, __file__, "--one", str(folder)]
        runs = [machine.run(command, machine.environ(args.work), 300).result["first"] for _ in range(args.rounds)]
        print(f"| {title} | {statistics.median(runs):.3f} | {min(runs):.3f} to {max(runs):.3f} | {ASKED[name]} |")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("build/bench/stream"), help="data (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="new processes for each (default %(default)s)")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def make(name: str, folder: Path) -> None:
    """Write the data, whole or not at all."""
    partial = folder.with_name(folder.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    if name == "indexed":
        make_indexed(partial)
    else:
        records = LARGE // (290 if name == "recordio" else 316)
        case = replace(CASES["float32"], records=records)
        ours.write_shard(made(case, folder.parent), partial / f"data.{name}", range(records), name)
    partial.rename(folder)


def made(case: Case, folder: Path) -> Source:
    """The source of so many records."""
    source = Source(case, folder / f"source-{case.records}")
    source.make()
    return source


def make_indexed(folder: Path) -> None:
    """Shards with the index that `prepare` writes beside them."""
    source = made(replace(CASES["float32"], records=SHARDS * RECORDS), folder.parent)
    entries = []
    for shard in range(SHARDS):
        path = folder / f"{shard:05d}.recordio"
        ours.write_shard(source, path, range(shard * RECORDS, (shard + 1) * RECORDS), "recordio")
        entry = index.ShardEntry(name=path.name, records=RECORDS, bytes=path.stat().st_size, crc32c="00000000")
        entries.append(entry)
    content = path.read_bytes()
    layout = aialgs.layout(memoryview(content), len(content))
    entry = index.LayoutEntry.of(layout)
    index.write(folder, index.Manifest(format="recordio-protobuf", layout=entry, shards=entries))


def first_batch(folder: Path) -> None:
    """Open and read one batch."""
    with tempfile.TemporaryDirectory() as scratch:
        start = time.perf_counter()
        batches = iter(ours.open_loader(folder, 256, scratch=Path(scratch)))
        batch = next(batches)
        first = time.perf_counter() - start
        batches.close()
        print(json.dumps({"first": first, "samples": len(batch["label"])}))


if __name__ == "__main__":
    main()
