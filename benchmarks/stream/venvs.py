"""Make the virtual environment of each peer: `python benchmarks/stream/venvs.py --venvs .cache/peers`."""

import argparse
import shutil
import subprocess
from pathlib import Path

TORCH = "torch==2.13.0"
COMMON = ("numpy", "pillow==13.0.0")
PEERS: dict[str, tuple[str, ...]] = {
    "mosaicml": ("mosaicml-streaming==0.13.0",),
    "webdataset": ("webdataset==1.0.2",),
    "litdata": ("litdata==0.2.76",),
    "tfrecord": ("tfrecord==1.14.6", "crc32c"),
    "huggingface": ("datasets==5.2.0",),
    "torchdata": ("torchdata==0.11.0", "simplejpeg==1.9.0"),
    "pyarrow": ("pyarrow==26.0.1",),
}
"""Each its own: their pins of numpy and others exclude each other."""


def main() -> None:
    """Make what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venvs", type=Path, default=Path(".cache/peers"), help="their folder (default .cache/peers)")
    parser.add_argument("--find-links", help="folder with torch's CPU wheel, where the registry has only CUDA builds")
    parser.add_argument("--uv", default=shutil.which("uv") or "uv", help="the uv program")
    args = parser.parse_args()
    links = ["--find-links", args.find_links] if args.find_links else []
    torch = f"{TORCH}+cpu" if args.find_links else TORCH
    for name, packages in PEERS.items():
        venv = args.venvs / name
        if not venv.exists():
            subprocess.run([args.uv, "venv", "--python", "3.11", str(venv)], check=True)
        python = str(venv / "bin" / "python")
        subprocess.run([args.uv, "pip", "install", "--python", python, *links, torch, *COMMON, *packages], check=True)


if __name__ == "__main__":
    main()
