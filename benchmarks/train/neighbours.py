"""How much a step on one core is delayed by what the other core does: computing, memory in the cache, memory beyond it.

    python benchmarks/train/neighbours.py [--rows 64] [--rounds 7]

The step is that of `checkpoint_stall.py`. What it prints says how much of a checkpoint's delay is the machine's.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections import defaultdict

import torch
from checkpoint_stall import Training

STEPS = 6
"""Of each neighbour in each round."""
BEGIN = "print(flush=True)\nwhile True: "
NEIGHBOURS = {
    "nobody": "print(flush=True)\ninput()",
    "computes": BEGIN + "pass",
    "CRC-32C of 256 KiB": "import google_crc32c\ndata = bytes(256 << 10)\n" + BEGIN + "google_crc32c.extend(0, data)",
    "copies 128 KiB": "import numpy\na = numpy.ones(16 << 10)\nb = a.copy()\n" + BEGIN + "b[:] = a",
    "copies 128 MiB": "import numpy\na = numpy.ones(16 << 20)\nb = a.copy()\n" + BEGIN + "b[:] = a",
    "reads 128 MiB": "import numpy\na = numpy.ones(16 << 20)\n" + BEGIN + "a.sum()",
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=64, help="samples of a step")
    parser.add_argument("--rounds", type=int, default=7, help="times that each neighbour is there")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    training = Training(arguments.rows)

    def step() -> tuple[float, float]:
        moments = [time.perf_counter()]
        training.step(lambda: moments.append(time.perf_counter()))
        return moments[1] - moments[0], time.perf_counter() - moments[1]

    found = defaultdict(list)
    for _ in range(arguments.rounds):
        for name, code in NEIGHBOURS.items():
            with subprocess.Popen(
                [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            ) as process:
                process.stdout.readline()
                step()
                found[name] += [step() for _ in range(STEPS)]
                process.kill()
    alone = statistics.median(map(sum, found["nobody"]))
    print("| the other core | passes | optimizer | step | later by |\n|---|--:|--:|--:|--:|")
    for name, steps in found.items():
        passes, update = (1000 * statistics.median(column) for column in zip(*steps, strict=True))
        whole = statistics.median(map(sum, steps))
        print(f"| {name} | {passes:.0f} ms | {update:.0f} ms | {1000 * whole:.0f} ms | {whole / alone - 1:+.0%} |")


if __name__ == "__main__":
    main()
