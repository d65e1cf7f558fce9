"""Write the model that all servers get: an MLP 64-256-256-10 with random weights, and rows with their answers.

    python benchmarks/serve/artifact.py FOLDER [--onnx]

FOLDER/model is an artifact for `serve`; FOLDER/weights.pt holds the same weights for the peers; FOLDER/rows.npz holds
`rows` and `answers` for the load. With --onnx the artifact carries a verified ONNX program, as `train` writes it.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from twofold.contract.artifact import PROGRAM, WEIGHTS, Architecture, Manifest, Signature, write_manifest
from twofold.models.table import build
from twofold.train.onnx_export import export

ROWS = 512
ARGUMENTS = {"features": 64, "outputs": 10, "hidden": [256, 256]}


def main() -> None:
    """Write everything."""
    folder = Path(sys.argv[1])
    model = folder / "model"
    model.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    module = build("mlp", ARGUMENTS).eval()
    save_file(module.state_dict(), model / WEIGHTS)
    manifest = Manifest(
        task="classification",
        architecture=Architecture(name="mlp", arguments=ARGUMENTS),
        input=Signature(shape=[64]),
        classes=list(range(10)),
    )
    write_manifest(model, manifest)
    rows = np.random.default_rng(1).normal(size=(ROWS, 64)).round(6).astype(np.float32)
    with torch.inference_mode():
        answers = module(torch.from_numpy(rows)).softmax(1).numpy()
    np.savez(folder / "rows.npz", rows=rows, answers=answers)
    if "--onnx" in sys.argv[2:]:
        program, entry = export(model, torch.from_numpy(rows))
        (model / PROGRAM).write_bytes(program)
        write_manifest(model, manifest.model_copy(update={"onnx": entry}))
    torch.save(module.state_dict(), folder / "weights.pt")


if __name__ == "__main__":
    main()
