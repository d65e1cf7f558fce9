"""Is resuming late in an epoch as fast as at its start, and exact? At 0% and at 90% of 2,000,000 records.

    python benchmarks/stream/resume.py

Uses the data of throughput.py (--work). Each run is a new process: the clock starts after the imports and runs over
opening, `load_state_dict` and the first batch. The batches after a resume are compared with those of a loader that was
not stopped.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import machine
import torch
from cases import CASES, Source
from peers import ours

COMPARED = 200
"""Batches that are compared with an uninterrupted run."""
SHARES = (0.0, 0.5, 0.9)


def main() -> None:
    """Measure and print a table."""
    args = arguments()
    if args.one is not None:
        resume(args.data, args.one)
        return
    case = CASES["float32"]
    folder = args.work.resolve() / f"{case.name}-{case.records}"
    data = folder / "ours-recordio"
    if not data.exists():
        source = Source(case, folder / "source")
        source.make()
        ours.write(source, data, "recordio")
    machine.warm(data)
    print("\n## Resume late in an epoch\n")
    print(
        "| resumed at | first batch, s: median | lowest to highest | samples/s after it | equal to a run not stopped |"
    )
    print("|---:|---:|---:|---:|---|")
    for share in SHARES:
        command = [sys.executable, __file__, "--data", str(data), "--one", str(share)]
        runs = [machine.run(command, machine.environ(args.work), 600).result for _ in range(args.rounds)]
        firsts = [run["first"] for run in runs]
        rate = statistics.median(run["rate"] for run in runs)
        equal = f"yes, {COMPARED} batches" if all(run["equal"] for run in runs) else "NO"
        span = f"{min(firsts):.3f} to {max(firsts):.3f}"
        print(f"| {share:.0%} | {statistics.median(firsts):.3f} | {span} | {rate:,.0f} | {equal} |")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("build/bench/stream"), help="data (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="new processes for each (default %(default)s)")
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--one", type=float, help=argparse.SUPPRESS)
    return parser.parse_args()


def resume(folder: Path, share: float) -> None:
    """Resume at a share of the epoch; time it, then compare."""
    with tempfile.TemporaryDirectory() as scratch:
        straight = ours.open_loader(folder, 256, scratch=Path(scratch))
        step = int(len(straight) * share)
        state = straight.state_dict() | {"step": step}
        start = time.perf_counter()
        loader = ours.open_loader(folder, 256, scratch=Path(scratch))
        loader.load_state_dict(state)
        batches = iter(loader)
        kept = [next(batches)]
        first = time.perf_counter() - start
        samples = 0
        for batch in batches:
            samples += len(batch["label"])
            if len(kept) < COMPARED:
                kept.append(batch)
            elif time.perf_counter() - start - first > 0.5:
                break
        rate = samples / (time.perf_counter() - start - first)
        equal = compare(straight, step, kept)
        print(json.dumps({"first": first, "rate": rate, "equal": equal}))


def compare(straight: ours.StreamingLoader, step: int, kept: list[dict[str, torch.Tensor]]) -> bool:
    """Whether a run from the start gives the same batches at `step` and after."""
    expected = iter(kept)
    for number, batch in enumerate(straight):
        if number < step:
            continue
        other = next(expected, None)
        if other is None:
            return True
        if any(not torch.equal(batch[name], other[name]) for name in batch):
            return False
    return next(expected, None) is None


if __name__ == "__main__":
    main()
