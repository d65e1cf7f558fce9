"""The peers: each serves one of nets.py on `/invocations` or a path of its own, JSON in and out, some NPY too.

python benchmarks/serve/peers.py NAME PORT FOLDER      in the peer's own environment; FOLDER is one of artifact.py's
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
BATCH, DELAY_MS, WORKERS = 32, 1, 2

MODEL = """
import io, json, sys, numpy as np, torch
sys.path.insert(0, {here!r})
import nets
torch.set_num_threads(1)
module = nets.NETS[{net!r}]().eval()
module.load_state_dict(torch.load({weights!r}, weights_only=True))
DTYPE = np.dtype(nets.DTYPES[{net!r}])
def predict(rows):
    with torch.inference_mode():
        return torch.softmax(module(torch.from_numpy(np.ascontiguousarray(rows))), 1).numpy()
def decode(data, npy):
    return np.load(io.BytesIO(data)) if npy else np.asarray(json.loads(data)["instances"], DTYPE)
def encode(answers, npy):
    out = io.BytesIO()
    if not npy:
        return json.dumps({{"predictions": answers.tolist()}}).encode()
    np.save(out, answers)
    return out.getvalue()
"""
FLASK = """
from flask import Flask, Response, request
app = Flask(__name__)
@app.get("/ping")
def ping():
    return Response(status=200)
@app.post("/invocations")
def invocations():
    npy = request.content_type == "application/x-npy"
    return Response(encode(predict(decode(request.get_data(), npy)), npy), content_type=request.content_type)
"""
FASTAPI = """
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
"""
LITSERVE = """
import litserve as ls
class API(ls.LitAPI):
    def setup(self, device):
        pass
    def decode_request(self, request):
        return np.asarray(request["instances"][0], DTYPE)
    def batch(self, inputs):
        return np.stack(inputs)
    def predict(self, batch):
        return predict(batch)
    def unbatch(self, output):
        return list(output)
    def encode_response(self, output):
        return {{"predictions": [output.tolist()]}}
if __name__ == "__main__":
    api = API(max_batch_size={batch}, batch_timeout={delay} / 1000, api_path="/invocations")
    server = ls.LitServer(api, accelerator="cpu", workers_per_device={workers}, healthcheck_path="/ping")
    server.run(port={port}, log_level="error", generate_client_file=False)
"""
BENTOML = """
import bentoml
@bentoml.service(workers={workers}, traffic={{"timeout": 60}})
class Peer:
    @bentoml.api(route="/invocations", batchable=True, max_batch_size={batch}, max_latency_ms=60000)
    def answer(self, instances: np.ndarray) -> np.ndarray:
        return predict(np.asarray(instances, DTYPE))
"""
MLSERVER = """
from mlserver import MLModel
from mlserver.types import InferenceResponse, ResponseOutput
class Peer(MLModel):
    async def load(self):
        return True
    async def predict(self, payload):
        entry = payload.inputs[0]
        answers = predict(np.asarray(entry.data.root, DTYPE).reshape(entry.shape))
        found = ResponseOutput(name="y", shape=list(answers.shape), datatype="FP32", data=answers.ravel().tolist())
        return InferenceResponse(model_name=self.name, outputs=[found])
"""
TOOLKIT = """
def handle(data, context):
    if data is None:
        return None
    rows, kinds = [], []
    for number, entry in enumerate(data):
        body = entry.get("body") or entry.get("data")
        npy = isinstance(body, (bytes, bytearray)) and bytes(body[:6]) == b"\\x93NUMPY"
        # TorchServe has parsed JSON already, MMS has not.
        rows.append(np.asarray(body["instances"], DTYPE) if isinstance(body, dict) else decode(bytes(body), npy))
        kinds.append(npy)
    answers = predict(np.concatenate(rows))
    return [encode(answers[number : number + 1], npy) for number, npy in enumerate(kinds)]
"""


@dataclass(frozen=True)
class Peer:
    """How to talk to one."""

    source: str
    """What follows MODEL in its file."""
    path: str = "/invocations"
    ping: str = "/ping"
    dialect: str = "rows"
    """Form of its JSON: `rows` or `v2`."""
    npy: bool = True
    """Whether it takes NPY without a protocol of its own."""


PEERS = {
    "template": Peer(FLASK),
    "fastapi": Peer(FASTAPI),
    "litserve": Peer(LITSERVE, npy=False),
    "bentoml": Peer(BENTOML, ping="/readyz", npy=False),
    "mlserver": Peer(MLSERVER, path="/v2/models/peer/infer", ping="/v2/models/peer/ready", dialect="v2", npy=False),
    "torchserve": Peer(TOOLKIT, path="/predictions/peer"),
    "mms": Peer(TOOLKIT, path="/predictions/peer"),
}
NGINX = """
worker_processes {workers};
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 2048; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 25m;
  upstream gunicorn {{ server unix:{folder}/gunicorn.sock; }}
  server {{
    listen 127.0.0.1:{port} deferred;
    keepalive_timeout 75;
    keepalive_requests 1000000;
    location / {{ proxy_pass http://gunicorn; proxy_set_header Host $http_host; }}
  }}
}}
"""
JAVA = """
inference_address=http://127.0.0.1:{port}
management_address=http://127.0.0.1:{next}
metrics_address=http://127.0.0.1:{third}
default_workers_per_model={workers}
load_models=all
model_store={folder}/store
disable_token_authorization=true
enable_envvars_config=false
models={{"peer": {{"1.0": {{"defaultVersion": true, "marName": "peer.mar", "minWorkers": {workers}, \
"maxWorkers": {workers}, "batchSize": {batch}, "maxBatchDelay": {delay}, "responseTimeout": 60}}}}}}
"""


def main() -> None:
    """Write the peer's files beside the weights, and become its server."""
    name, port, home = sys.argv[1], sys.argv[2], Path(sys.argv[3]).resolve()
    folder = home / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    words = {"here": str(HERE), "net": home.name, "weights": str(home / "weights.pt"), "port": port}
    words |= {"folder": str(folder), "batch": BATCH, "delay": DELAY_MS, "workers": WORKERS}
    words |= {"next": int(port) + 1, "third": int(port) + 2}
    (folder / "peer.py").write_text((MODEL + PEERS[name].source).format(**words))
    os.chdir(folder)
    python, bin_folder = sys.executable, Path(sys.executable).parent
    if name == "template":
        (folder / "nginx.conf").write_text(NGINX.format(**words))
        subprocess.Popen([shutil.which("nginx") or "nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")])
    if name == "mlserver":
        ports = {"http_port": int(port), "grpc_port": int(port) + 1, "metrics_port": int(port) + 2}
        settings = {"host": "127.0.0.1", "parallel_workers": WORKERS, "debug": False} | ports
        model = {"name": "peer", "implementation": "peer.Peer", "max_batch_size": BATCH, "max_batch_time": 0.001}
        (folder / "settings.json").write_text(json.dumps(settings))
        (folder / "model-settings.json").write_text(json.dumps(model))
    if name in {"torchserve", "mms"}:
        (folder / "store").mkdir()
        (folder / "config.properties").write_text(JAVA.format(**words))
        archive(name, folder, bin_folder)
        os.environ["PATH"] = f"{bin_folder}:{os.environ['PATH']}"
        # They note that they run in the temporary folder, and do so even when they have been killed.
        os.environ["TMPDIR"] = str(folder)
    gunicorn = ["-m", "gunicorn", "-k", "sync", "-w", str(WORKERS), "-b", f"unix:{folder}/gunicorn.sock", "peer:app"]
    java = ["--foreground", "--model-store", "store"]
    commands = {
        "template": gunicorn,
        "fastapi": ["-m", "uvicorn", "--workers", str(WORKERS), "--port", port, "--log-level", "error", "peer:app"],
        "litserve": ["peer.py"],
        "bentoml": ["-m", "bentoml", "serve", "peer:Peer", "--port", port, "--host", "127.0.0.1"],
        "mlserver": [str(bin_folder / "mlserver"), "start", "."],
        "torchserve": [str(bin_folder / "torchserve"), "--ncs", "--ts-config", "config.properties", *java],
        "mms": [str(bin_folder / "multi-model-server"), "--mms-config", "config.properties", *java],
    }
    os.execv(python, [python, *commands[name]])  # noqa: S606  an argument list, no shell


def archive(name: str, folder: Path, bin_folder: Path) -> None:
    """Pack the model as the Java servers want it."""
    if name == "torchserve":
        command = ["torch-model-archiver", "--model-name", "peer", "--version", "1.0", "--handler", "peer.py"]
        command += ["--serialized-file", "../weights.pt"]
    else:
        (folder / "code").mkdir()
        shutil.copy(folder / "peer.py", folder / "code" / "peer.py")
        command = ["model-archiver", "--model-name", "peer", "--model-path", "code", "--handler", "peer:handle"]
    script = [sys.executable, str(bin_folder / command[0]), *command[1:], "--export-path", "store", "--force"]
    subprocess.run(script if name == "mms" else [entry for entry in script if entry != "--force"], check=True)


if __name__ == "__main__":
    main()
