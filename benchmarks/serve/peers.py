"""The peers, each one file that serves the MLP: {"instances": [[...]]} or NPY in, the same out.

python benchmarks/serve/peers.py NAME PORT WEIGHTS      in the peer's own environment
"""

import os
import sys
from pathlib import Path

START = """
import io, json, numpy as np, torch
torch.set_num_threads(1)
tensors = torch.load({weights!r}, weights_only=True)
layers = []
for name in [name for name in tensors if tensors[name].ndim == 2]:
    weight, bias = tensors[name], tensors[name.replace("weight", "bias")]
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data, layer.bias.data = weight, bias
    layers += [layer, torch.nn.ReLU()]
module = torch.nn.Sequential(*layers[:-1]).eval()
def predict(rows):
    with torch.inference_mode():
        return torch.softmax(module(torch.from_numpy(rows)), 1).numpy()
def decode(data, npy):
    return np.load(io.BytesIO(data)) if npy else np.asarray(json.loads(data)["instances"], np.float32)
def encode(answers, npy):
    out = io.BytesIO()
    if not npy:
        return json.dumps({{"predictions": answers.tolist()}}).encode()
    np.save(out, answers)
    return out.getvalue()
"""
SOURCES = {
    "flask": """
from flask import Flask, Response, request
app = Flask(__name__)
@app.get("/ping")
def ping():
    return Response(status=200)
@app.post("/invocations")
def invocations():
    npy = request.content_type == "application/x-npy"
    return Response(encode(predict(decode(request.get_data(), npy)), npy), content_type=request.content_type)
""",
    "fastapi": """
from fastapi import FastAPI, Request, Response
app = FastAPI()
@app.get("/ping")
async def ping():
    return Response()
@app.post("/invocations")
async def invocations(request: Request):
    kind = request.headers.get("content-type")
    npy = kind == "application/x-npy"
    return Response(encode(predict(decode(await request.body(), npy)), npy), media_type=kind)
""",
    "litserve": """
import litserve as ls
class API(ls.LitAPI):
    def setup(self, device):
        pass
    def decode_request(self, request):
        return np.asarray(request["instances"][0], np.float32)
    def batch(self, inputs):
        return np.stack(inputs)
    def predict(self, batch):
        return predict(batch)
    def unbatch(self, output):
        return list(output)
    def encode_response(self, output):
        return {{"predictions": [output.tolist()]}}
if __name__ == "__main__":
    api = API(max_batch_size=64, batch_timeout=0.001, api_path="/invocations")
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=2, healthcheck_path="/ping")
    server.run(port={port}, log_level="error", generate_client_file=False)
""",
}


def main() -> None:
    """Write the peer's file beside the weights, and become its server."""
    name, port, weights = sys.argv[1], sys.argv[2], str(Path(sys.argv[3]).resolve())
    folder = Path(weights).parent / name
    folder.mkdir(exist_ok=True)
    (folder / "peer.py").write_text((START + SOURCES[name]).format(weights=weights, port=port))
    os.chdir(folder)
    commands = {
        "flask": ["-m", "gunicorn", "-w", "2", "--threads", "16", "-b", f"127.0.0.1:{port}", "peer:app"],
        "fastapi": ["-m", "uvicorn", "--workers", "2", "--port", port, "--log-level", "error", "peer:app"],
        "litserve": ["peer.py"],
    }
    os.execv(sys.executable, [sys.executable, *commands[name]])  # noqa: S606  an argument list, no shell


if __name__ == "__main__":
    main()
