"""Write the models that all servers get, with random weights, and rows with their answers.

    python benchmarks/serve/artifact.py FOLDER

FOLDER/NAME/model is an artifact for `serve` with a verified ONNX program, as `train` writes it; weights.pt beside it
holds the same weights for the peers, rows.npz `rows` and `answers` for the load. NAME is one of those in nets.py.
"""

import shutil
import sys
from pathlib import Path

import nets
import numpy as np
import torch
from safetensors.torch import save_file
from twofold.contract.artifact import CODE, PROGRAM, WEIGHTS, Architecture, Manifest, Signature, write_manifest
from twofold.train.onnx_export import export

ROWS = {"mlp": 512, "cnn": 64, "encoder": 256}


def main() -> None:
    """Write everything."""
    for name, make in nets.NETS.items():
        folder = Path(sys.argv[1]) / name
        model = folder / "model"
        (model / CODE).mkdir(parents=True, exist_ok=True)
        shutil.copy(nets.__file__, model / CODE / "nets.py")
        torch.manual_seed(1)
        module = make().eval()
        save_file(module.state_dict(), model / WEIGHTS)
        manifest = Manifest(
            task="classification",
            architecture=Architecture(name=name, arguments={}),
            code="nets.py",
            input=Signature(shape=list(nets.SHAPES[name]), dtype=nets.DTYPES[name]),
            classes=list(range(10)),
        )
        write_manifest(model, manifest)
        random = np.random.default_rng(1)
        shape = (ROWS[name], *nets.SHAPES[name])
        if nets.DTYPES[name] == "int64":
            rows = random.integers(0, nets.VOCABULARY, shape)
        else:
            rows = random.normal(size=shape).round(4).astype(np.float32)
        with torch.inference_mode():
            answers = module(torch.from_numpy(rows)).softmax(1).numpy()
        np.savez(folder / "rows.npz", rows=rows, answers=answers)
        program, entry = export(model, torch.from_numpy(rows[:8]))
        (model / PROGRAM).write_bytes(program)
        write_manifest(model, manifest.model_copy(update={"onnx": entry}))
        torch.save(module.state_dict(), folder / "weights.pt")
        print(f"{name}: worst error of its ONNX program {entry.worst_error:.2g}")


if __name__ == "__main__":
    main()
