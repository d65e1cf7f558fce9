"""What do workers bring for a transform in slow Python, and what do they cost one that is not slow?

    python benchmarks/stream/transform.py

64 images of 3x32x32 bytes a batch, written once into a temporary folder. Three transforms: none of which to speak of
(`cast`), one that computes in the interpreter alone (`slow`), one between them (`mixed`). A pass over all batches is
timed from the first batch on; every round takes all cases in turn. Results of all numbers of workers are compared.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from twofold import StreamingLoader
from twofold.formats import npy

BATCH, BATCHES, SIDE = 64, 60, 32
WORKERS = (0, 1, 2)
Batch = dict[str, torch.Tensor]


def cast(batch: Batch) -> Batch:
    """Make floats of bytes: a microsecond an image."""
    return {"image": batch["data"].float() / 255}


def mixed(batch: Batch) -> Batch:
    """Flip some, image by image."""
    images = batch["data"].float() / 255
    return {"image": torch.stack([image.flip(-1) if int(image.sum()) % 2 else image for image in images])}


def slow(batch: Batch) -> Batch:
    """Look at pixels one by one, as Python should not."""
    sums = [sum(value * value % 7 for value in image.flatten().tolist()) for image in batch["data"]]
    return {"image": batch["data"].float() / 255, "sums": torch.tensor(sums)}


def timed(folder: Path, transform: Callable[[Batch], Batch], workers: int) -> tuple[float, float]:
    """Seconds a batch after the first one, and a sum over all values."""
    loader = StreamingLoader(folder, BATCH, seed=1, transform=transform, workers=workers)
    batches = iter(loader)
    total = sum(float(value.sum()) for value in next(batches).values())
    start = time.perf_counter()
    for batch in batches:
        total += float(batch["image"][0].sum())
    return (time.perf_counter() - start) / (BATCHES - 1), total


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="passes of each case (default %(default)s)")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print("| transform | workers | ms a batch: median | lowest to highest | same batches |\n|---|--:|--:|--:|---|")
    with tempfile.TemporaryDirectory() as place:
        images = np.random.default_rng(0).integers(0, 256, (BATCH * BATCHES, 3, SIDE, SIDE), dtype=np.uint8)
        Path(place, "images.npy").write_bytes(npy.encode(images))
        for transform in (cast, mixed, slow):
            found: dict[int, list[tuple[float, float]]] = {workers: [] for workers in WORKERS}
            for _ in range(rounds):
                for workers in WORKERS:
                    found[workers].append(timed(Path(place), transform, workers))
            for workers, runs in found.items():
                times = [1000 * seconds for seconds, _ in runs]
                same = "yes" if {total for _, total in runs} == {found[0][0][1]} else "NO"
                span = f"{min(times):.2f} to {max(times):.2f}"
                print(f"| {transform.__name__} | {workers} | {statistics.median(times):.2f} | {span} | {same} |")


if __name__ == "__main__":
    main()
