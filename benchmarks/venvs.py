"""Make the virtual environment of each peer: `python benchmarks/venvs.py stream --venvs .cache/peers`."""

import argparse
import shutil
import subprocess
from pathlib import Path

TORCH = "torch==2.13.0"
STREAM = {
    "mosaicml": ("mosaicml-streaming==0.13.0",),
    "webdataset": ("webdataset==1.0.2",),
    "litdata": ("litdata==0.2.76",),
    "tfrecord": ("tfrecord==1.14.6", "crc32c"),
    "huggingface": ("datasets==5.2.0",),
    "torchdata": ("torchdata==0.11.0", "simplejpeg==1.9.0"),
    "pyarrow": ("pyarrow==26.0.1",),
}
SERVE = {
    "template": ("flask==3.1.3", "gunicorn==27.0.1"),
    "fastapi": ("fastapi==0.165.0", "uvicorn[standard]==0.54.0"),
    "litserve": ("litserve==0.2.19",),
    "bentoml": ("bentoml==1.4.40",),
    # Its workers ask for an event loop that newer versions of uvloop do not make by themselves.
    "mlserver": ("mlserver==1.7.1", "uvloop==0.21.0"),
    "torchserve": ("torchserve==0.12.0", "torch-model-archiver", "setuptools", "pyyaml", "psutil", "packaging"),
    "mms": ("multi-model-server==1.1.11", "model-archiver", "setuptools", "retrying", "scipy", "enum-compat"),
}
"""They want nginx and Java beside."""
PEERS: dict[str, tuple[tuple[str, ...], dict[str, tuple[str, ...]]]] = {
    "stream": (("numpy", "pillow==13.0.0"), STREAM),
    "serve": (("numpy",), SERVE),
}
"""What all of a benchmark have, and each its own: their pins of numpy and others exclude each other."""


def main() -> None:
    """Make what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark", choices=list(PEERS), help="whose peers")
    parser.add_argument("--venvs", type=Path, default=Path(".cache/peers"), help="their folder (default .cache/peers)")
    parser.add_argument("--find-links", help="folder with torch's CPU wheel, where the registry has only CUDA builds")
    parser.add_argument("--uv", default=shutil.which("uv") or "uv", help="the uv program")
    args = parser.parse_args()
    links = ["--find-links", args.find_links] if args.find_links else []
    torch = f"{TORCH}+cpu" if args.find_links else TORCH
    common, peers = PEERS[args.benchmark]
    for name, packages in peers.items():
        venv = args.venvs / name
        if not venv.exists():
            subprocess.run([args.uv, "venv", "--python", "3.11", str(venv)], check=True)
        python = str(venv / "bin" / "python")
        subprocess.run([args.uv, "pip", "install", "--python", python, *links, torch, *common, *packages], check=True)


if __name__ == "__main__":
    main()
