"""Train `gpt` on this repository's own pages: `python3 manual.py FOLDER` trains and lets the model go on with a prompt.

FOLDER becomes a tree as SageMaker mounts it under /opt/ml. Further arguments are hyperparameters, such as `epochs=60`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from twofold import load_model
from twofold.models.gpt_generate import Sampling, generate_text

ROOT = Path(__file__).parents[2]
TEXTS = ("README.md", "DESIGN.md", "docs/data.md")
HELD_OUT = "CONTRIBUTING.md"
SETTINGS = {
    "model": "gpt",
    "context": 128,
    "width": 128,
    "layers": 2,
    "heads": 4,
    "epochs": 20,
    "batch_size": 16,
    "learning_rate": 0.003,
    "warmup_steps": 20,
    "schedule": "cosine",
    "grad_clip": 1.0,
}
PROMPT = "The image "


def write_channels(data: Path) -> None:
    """Copy the texts, as they are, to the channels `training` and `validation`."""
    for channel, names in (("training", TEXTS), ("validation", (HELD_OUT,))):
        (data / channel).mkdir(parents=True, exist_ok=True)
        for name in names:
            (data / channel / Path(name).name).write_bytes((ROOT / name).read_bytes())


def train(root: Path, settings: dict[str, object]) -> None:
    """Run the verb `train` on a tree."""
    config = root / "input" / "config"
    config.mkdir(parents=True, exist_ok=True)
    (config / "hyperparameters.json").write_text(json.dumps({name: str(value) for name, value in settings.items()}))
    environ = os.environ | {"SAGEMAKER_BASE_DIR": str(root)}
    subprocess.run([sys.executable, "-m", "twofold.train"], env=environ, check=True)


def ask(root: Path) -> None:
    """Load the artifact in plain Python and print what it says, as it says it."""
    model, manifest = load_model(root / "model")
    sampling = Sampling(temperature=0.7, top_k=40, top_p=0.95, seed=1)
    print(PROMPT, end="")
    for piece in generate_text(model, PROMPT, max_tokens=200, sampling=sampling):
        print(piece, end="", flush=True)
    print(f"\ntext: ok perplexity={manifest.metrics['validation:perplexity']:.2f}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python3 manual.py FOLDER [HYPERPARAMETER=VALUE ...]")
    target = Path(sys.argv[1]).resolve()
    write_channels(target / "input" / "data")
    train(target, SETTINGS | dict(argument.split("=", 1) for argument in sys.argv[2:]))
    ask(target)
