"""Both engines on the same artifacts: CPU seconds of one call, by batch size, and how far their answers differ.

    python benchmarks/engines.py MODEL_BASE...      each a folder with `model/` in it, an artifact with an ONNX program

Seconds of CPU, least of many calls, so that other programs on the machine count little; prints a Markdown table.
"""

import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from twofold.serve.engine import EngineSettings
from twofold.serve.model import Model, load

_SIZES = (1, 8, 64)
_SECONDS = 2.0


def main() -> None:
    """Measure and print."""
    print(f"torch {version('torch')}, onnxruntime {version('onnxruntime')}, one thread\n")
    print("| artifact | rows | PyTorch ms | ONNX Runtime ms | ratio | largest difference |\n|---|--:|--:|--:|--:|--:|")
    for base in map(Path, sys.argv[1:]):
        onnx = load(base / "model", EngineSettings(engine="onnx"))
        torch = load(base / "model", EngineSettings(engine="pytorch"))
        for size in _SIZES:
            rows = np.random.default_rng(size).integers(0, 255, (size, *onnx.row_shape)).astype(np.float32)
            worst = float(np.abs(onnx.predict(rows) - torch.predict(rows)).max())
            slow, fast = (1000 * seconds(model, rows) for model in (torch, onnx))
            print(f"| {base.name} | {size} | {slow:.3f} | {fast:.3f} | {slow / fast:.1f} | {worst:.1g} |", flush=True)


def seconds(model: Model, rows: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    """CPU seconds of the fastest call."""
    best, end = float("inf"), time.process_time() + _SECONDS
    while time.process_time() < end:
        started = time.process_time()
        model.predict(rows)
        best = min(best, time.process_time() - started)
    return best


if __name__ == "__main__":
    main()
