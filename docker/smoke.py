"""Run inside the image while it is built: everything that a job may import is there after trimming, and works.

Each line is something that trimming or a missing system library has broken before, here or elsewhere.
"""

import importlib
import sys
import tempfile

import numpy as np
import onnxruntime
import torch

IMPORTS = (
    "boto3",
    "flask",
    "gunicorn.app.base",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "orjson",
    "pyarrow.compute",
    "pyarrow.dataset",
    "pyarrow.fs",
    "pyarrow.parquet",
    "pydantic",
    "sagemaker_inference.default_handler_service",
    "sagemaker_training.environment",
    "sagemaker_training.entry_point",
    "safetensors.torch",
    "scipy.sparse",
    "torch._dynamo",
    "torch._inductor",
    "torch.distributed.checkpoint",
    "torch.distributed.fsdp",
    "torch.distributed.run",
    "torch.distributed.tensor.parallel",
    "torch.export",
    "torch.utils.data",
    "twofold",
)


def main(build: str) -> None:
    """Import all of it, then compute, export and exchange a little."""
    for name in IMPORTS:
        importlib.import_module(name)
    if (torch.version.cuda is None) != (build == "cpu"):
        sys.exit(f"torch is built for CUDA {torch.version.cuda}, but TORCH_BUILD is {build}")
    if not torch.distributed.is_gloo_available():
        sys.exit("torch has no gloo: CPU hosts could not train together")
    model = torch.nn.Sequential(torch.nn.Linear(64, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    rows = torch.from_numpy(np.ones((4, 64), dtype=np.float32))
    program = torch.export.export(model, (rows,))
    exported = program.module()
    torch.testing.assert_close(exported(rows), model(rows))
    with tempfile.TemporaryDirectory() as folder:
        torch.onnx.export(program, (), f"{folder}/model.onnx", dynamo=True, verbose=False)
        session = onnxruntime.InferenceSession(f"{folder}/model.onnx")
        (answer,) = session.run(None, {session.get_inputs()[0].name: rows.numpy()})
    np.testing.assert_allclose(answer, model(rows).detach().numpy(), rtol=1e-5)
    torch.testing.assert_close(torch.compile(model, backend="eager")(rows), model(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
