import json
import threading
import time

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file
from twofold.contract.artifact import Architecture, Manifest, Signature, read_manifest, write_manifest
from twofold.models.answers import Answers
from twofold.models.load import load_module
from twofold.models.table import build
from twofold.train import onnx_export
from twofold.train.interrupt import Interrupt
from twofold.train.onnx_export import TOLERANCE, add_program, real_rows

MODELS = {
    "linear": ({"features": 5, "outputs": 1, "restore": True}, "regression", Signature(shape=[5])),
    "mlp": ({"features": 5, "outputs": 3, "hidden": [8, 8], "dropout": 0.5}, "classification", Signature(shape=[5])),
    "resnet": (
        {"outputs": 4, "height": 12, "width": 16, "filters": 8},
        "classification",
        Signature(shape=[3, 12, 16], dtype="uint8"),
    ),
    "gpt": (
        {"context": 16, "width": 16, "layers": 2, "heads": 2},
        "language-modelling",
        Signature(shape=[16], dtype="int64"),
    ),
}


def write(folder, name, arguments=None):
    """An artifact as `train` leaves it before the export."""
    default, task, signature = MODELS[name]
    arguments = arguments or default
    torch.manual_seed(3)
    folder.mkdir()
    save_file(build(name, arguments).state_dict(), folder / "weights.safetensors")
    classes = list(range(arguments["outputs"])) if task == "classification" else None
    manifest = Manifest(
        task=task, architecture=Architecture(name=name, arguments=arguments), input=signature, classes=classes
    )
    write_manifest(folder, manifest)
    return folder


def some(signature, count, seed=0):
    random = torch.Generator().manual_seed(seed)
    if signature.dtype == "float32":
        return torch.randn(count, *signature.shape, generator=random) * 3
    return torch.randint(0, 256, (count, *signature.shape), generator=random).to(getattr(torch, signature.dtype))


@pytest.mark.parametrize("name", MODELS)
def test_the_program_answers_as_pytorch_does_for_any_number_of_rows(tmp_path, name):
    folder = write(tmp_path / "model", name)
    signature = MODELS[name][2]
    add_program(folder, some(signature, 4), Interrupt())
    manifest = read_manifest(folder)
    assert manifest.onnx.worst_error < 1e-4 < manifest.onnx.tolerance
    assert {path.name for path in folder.iterdir()} == {"twofold.json", "weights.safetensors", "model.onnx"}
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    answers = Answers(load_module(folder, manifest), manifest.task)
    for count in (1, 5, 70):
        rows = some(signature, count, seed=count)
        with torch.inference_mode():
            expected = answers(rows).numpy()
        np.testing.assert_allclose(
            session.run(None, {"rows": rows.numpy()})[0], expected, atol=manifest.onnx.worst_error * 10 + 1e-6
        )


def test_a_model_that_cannot_be_exported_costs_a_line(tmp_path, caplog):
    folder = write(tmp_path / "model", "mlp")
    (folder / "code").mkdir()
    (folder / "code" / "net.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.w = torch.nn.Parameter(torch.ones(1))\n"
        "    def forward(self, rows):\n"
        "        return torch.tensor([[float(row.sum().item()), 0.0] for row in rows]) * self.w\n"
        "def build():\n"
        "    return Net()\n"
    )
    save_file({"w": torch.ones(1)}, folder / "weights.safetensors")
    manifest = json.loads((folder / "twofold.json").read_text())
    manifest |= {"code": "net.py", "architecture": {"name": "build"}, "classes": [0, 1]}
    (folder / "twofold.json").write_text(json.dumps(manifest))
    add_program(folder, some(MODELS["mlp"][2], 4), Interrupt())
    lines = [record.getMessage() for record in caplog.records if record.name == "twofold.train"]
    assert len(lines) == 1
    assert lines[0].startswith("No model.onnx, the model is served by PyTorch: ")
    assert "\n" not in lines[0]
    assert read_manifest(folder).onnx is None
    assert not (folder / "model.onnx").exists()


def test_a_program_that_answers_otherwise_is_not_kept(tmp_path, caplog, monkeypatch):
    folder = write(tmp_path / "model", "mlp")
    export = onnx_export._program

    def of_another(answers, real):
        answers.module[1].weight.data += 0.3
        data = export(answers, real)
        answers.module[1].weight.data -= 0.3
        return data

    monkeypatch.setattr(onnx_export, "_program", of_another)
    add_program(folder, some(MODELS["mlp"][2], 4), Interrupt())
    assert f"more than {TOLERANCE:g}" in caplog.text
    assert read_manifest(folder).onnx is None


def test_a_stop_before_the_export_leaves_it_out(tmp_path):
    folder = write(tmp_path / "model", "mlp")
    interrupt = Interrupt()
    interrupt.raised_at = time.monotonic()
    add_program(folder, some(MODELS["mlp"][2], 1), interrupt)
    assert read_manifest(folder).onnx is None


def test_a_stop_in_the_midst_of_the_export_is_not_waited_for(tmp_path, monkeypatch, caplog):
    folder = write(tmp_path / "model", "mlp")
    begun, released = threading.Event(), threading.Event()

    def never_ends(folder, real):
        begun.set()
        released.wait(60)
        raise ValueError("too late")

    monkeypatch.setattr(onnx_export, "export", never_ends)
    interrupt = Interrupt()

    def stop():
        begun.wait(60)
        interrupt.raised_at = time.monotonic()

    threading.Thread(target=stop, daemon=True).start()
    start = time.monotonic()
    add_program(folder, some(MODELS["mlp"][2], 1), interrupt)
    assert time.monotonic() - start < 30
    assert "the job was told to stop" in caplog.text
    released.set()


def test_an_export_that_never_ends_is_given_up(tmp_path, monkeypatch, caplog):
    folder = write(tmp_path / "model", "mlp")
    released = threading.Event()
    monkeypatch.setattr(onnx_export, "export", lambda *_: released.wait(60))
    monkeypatch.setattr(onnx_export, "TIME_OUT", 0.1)
    add_program(folder, some(MODELS["mlp"][2], 1), Interrupt())
    assert "not done in 0.1 s" in caplog.text
    released.set()


def test_a_full_disk_leaves_the_artifact_as_it_was(tmp_path, files_of_at_most, caplog):
    folder = write(tmp_path / "model", "mlp")
    data, program = onnx_export.export(folder, some(MODELS["mlp"][2], 2))
    with files_of_at_most(100):
        onnx_export._keep(folder, data, program)
    assert "cannot be written" in caplog.text
    assert read_manifest(folder).onnx is None
    assert {path.name for path in folder.iterdir()} == {"twofold.json", "weights.safetensors"}


def test_real_rows_are_rows_of_the_channel(samples_of, classes):
    data = classes(90)
    rows = real_rows(samples_of(data)).numpy()
    assert rows.dtype == np.float32
    assert 1 < len(rows) <= 90
    known = {tuple(row) for row in data[:, 1:].astype(np.float32).tolist()}
    assert all(tuple(row) in known for row in rows.tolist())


def test_a_job_writes_a_program(make_tree, train_here, classes):
    trained = train_here(make_tree({"training": {"a.npy": classes(60)}}, epochs=1, export_onnx=True))
    assert trained.manifest.onnx.worst_error < 1e-4
    assert (trained.paths.model / "model.onnx").stat().st_mode & 0o444 == 0o444
