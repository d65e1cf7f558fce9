"""Train `resnet` on the digits as images: `python3 digits.py FOLDER` writes PNG files, trains, and asks the model.

FOLDER becomes a tree as SageMaker mounts it under /opt/ml. Further arguments are hyperparameters, such as `epochs=20`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from twofold import load_model

PACKED = Path(__file__).parents[1] / "digits" / "digits.csv.gz"
SETTINGS = {
    "model": "resnet",
    "filters": 16,
    "epochs": 6,
    "batch_size": 64,
    "learning_rate": 0.003,
    "schedule": "cosine",
}
_HELD_OUT_EVERY = 5
_BRIGHTEST = 16
_SHOWN = 10


def write_channels(data: Path) -> None:
    """Write each digit to `training/7/123.png` or, every fifth, to `validation/7/125.png`."""
    for number, (label, *pixels) in enumerate(np.loadtxt(PACKED, delimiter=",", dtype=int)):
        channel = "training" if number % _HELD_OUT_EVERY else "validation"
        folder = data / channel / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        image = np.reshape(pixels, (8, 8)) * 255 // _BRIGHTEST
        Image.fromarray(image.astype(np.uint8)).save(folder / f"{number}.png")


def train(root: Path, settings: dict[str, object]) -> None:
    """Run the verb `train` on a tree."""
    config = root / "input" / "config"
    config.mkdir(parents=True, exist_ok=True)
    (config / "hyperparameters.json").write_text(json.dumps({name: str(value) for name, value in settings.items()}))
    environ = os.environ | {"SAGEMAKER_BASE_DIR": str(root)}
    subprocess.run([sys.executable, "-m", "twofold.train"], env=environ, check=True)


def ask(root: Path) -> None:
    """Load the artifact in plain Python and compare its answers with the truth."""
    model, manifest = load_model(root / "model")
    paths = sorted((root / "input" / "data" / "validation").glob("*/*.png"))[:: 360 // _SHOWN]
    pixels = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    answers = model(torch.from_numpy(pixels).permute(0, 3, 1, 2)).argmax(dim=1)
    print("truth ", *(path.parent.name for path in paths))
    print("answer", *(manifest.classes[answer] for answer in answers.tolist()))
    print(f"images: ok accuracy={manifest.metrics['validation:accuracy']:.3f}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python3 digits.py FOLDER [HYPERPARAMETER=VALUE ...]")
    target = Path(sys.argv[1]).resolve()
    write_channels(target / "input" / "data")
    train(target, SETTINGS | dict(argument.split("=", 1) for argument in sys.argv[2:]))
    ask(target)
