"""Run one peer in its own environment: write its data, check what it yields against the source, or time it."""

import argparse
import importlib
import json
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from cases import CASES, Case, Source
from peers.pixels import pillow


def main() -> None:
    """Print one line of JSON, the last of the output."""
    args = arguments()
    case = case_of(args.case, args.records)
    source = Source(case, args.source)
    peer = importlib.import_module(f"peers.{args.module}")
    options = json.loads(args.options)
    if args.do == "write":
        form = {"form": options["form"]} if args.module == "ours" else {}
        peer.write(source, args.data, **form)
        result = {"written": True}
    else:
        loader = getattr(peer, args.loader)(case, args.data, **options)
        result = verify(loader, source, args.seconds) if args.do == "verify" else rate(loader, args)
    sys.stdout.write("\n" + json.dumps(result) + "\n")


def arguments() -> argparse.Namespace:
    """What the runner asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("do", choices=("write", "verify", "rate"))
    parser.add_argument("--module", required=True, help="adapter: a module of peers/")
    parser.add_argument("--loader", default="loader", help="function of the adapter that makes the loader")
    parser.add_argument("--options", default="{}", help="its options as JSON")
    parser.add_argument("--case", choices=CASES, required=True)
    parser.add_argument("--records", type=int, default=0, help="fewer records than the case has")
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--warm-up", type=float, default=1.0, help="seconds after the first batch that are not counted")
    return parser.parse_args()


def case_of(name: str, records: int) -> Case:
    """The case, perhaps with fewer records."""
    return replace(CASES[name], records=records) if records else CASES[name]


def epochs(loader: Iterable[tuple[object, object]]) -> Iterator[tuple[object, object]]:
    """Batches without end."""
    while True:
        yield from loader


def rate(loader: Iterable[tuple[object, object]], args: argparse.Namespace) -> dict[str, float]:
    """Samples a second after the warm-up, starts of epochs included."""
    opened = time.perf_counter()
    batches = epochs(loader)
    next(batches)
    first = time.perf_counter()
    for _ in batches:
        if time.perf_counter() - first >= args.warm_up:
            break
    start = time.perf_counter()
    seen, slowest, before = 0, 0.0, start
    for _, labels in batches:
        seen += len(labels)
        now = time.perf_counter()
        slowest = max(slowest, now - before)
        before = now
        if now - start >= args.seconds:
            break
    return {"rate": seen / (before - start), "samples": seen, "first": first - opened, "slowest": slowest}


def verify(loader: Iterable[tuple[object, object]], source: Source, seconds: float) -> dict[str, object]:
    """Compare one epoch (or what comes in `seconds`) with the source; the label is the record's number.

    Raises:
        SystemExit: a record differs, or an epoch has not each record once.
    """
    counts = np.zeros(source.case.records, np.int64)
    start, whole, worst, ordered, last = time.perf_counter(), True, 0, True, -1
    for features, labels in loader:
        rows = np.asarray(labels).astype(np.int64).reshape(-1)
        counts += np.bincount(rows, minlength=len(counts))
        worst = max(worst, difference(np.asarray(features), rows, source))
        ordered = ordered and bool((np.diff(rows, prepend=last) == 1).all())
        last = int(rows[-1])
        if time.perf_counter() - start > seconds:
            whole = False
            break
    # Two decoders may round a pixel differently; anything else must be equal.
    if worst > (4 if source.case.jpeg else 0):
        raise SystemExit(f"features differ from the source by up to {worst}")
    once = bool((counts == 1).all())
    return {"checked": int(counts.sum()), "whole": whole, "once": once, "difference": worst, "ordered": ordered}


def difference(features: np.ndarray, rows: np.ndarray, source: Source) -> int:
    """Largest difference between features and the source's records `rows`; 0 is equal bit for bit."""
    if source.case.jpeg:
        if features.shape[1] == 3:
            features = features.transpose(0, 2, 3, 1)
        expected = np.stack([pillow(source.file(int(row)).read_bytes()) for row in rows])
        return int(np.abs(features.astype(np.int16) - expected).max())
    expected = source.features[rows]
    got = features.reshape(expected.shape)
    return 0 if got.dtype == expected.dtype and np.array_equal(got, expected) else 1


if __name__ == "__main__":
    main()
