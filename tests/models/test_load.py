import pytest
import torch
from safetensors.torch import save_file
from twofold.contract.artifact import CODE, WEIGHTS, Architecture, Manifest, Signature, write_manifest
from twofold.errors import ModelError
from twofold.models.load import load_model, load_module
from twofold.models.table import build


def test_a_folder_becomes_the_module_that_answers_the_same_and_learns_no_more(tmp_path):
    arguments = {"features": 4, "outputs": 3, "hidden": [8], "dropout": 0.5}
    module = build("mlp", arguments)
    save_file(module.state_dict(), tmp_path / WEIGHTS)
    architecture = Architecture(name="mlp", arguments=arguments)
    loaded = load_module(
        tmp_path, Manifest(task="classification", architecture=architecture, input=Signature(shape=[4]))
    )
    rows = torch.randn(5, 4)
    assert torch.equal(loaded(rows), module.eval()(rows))
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_a_model_of_ones_own_is_built_by_the_code_beside_the_weights(tmp_path):
    (tmp_path / CODE).mkdir()
    (tmp_path / CODE / "net.py").write_text(
        "import torch\n\nclass Scale(torch.nn.Module):\n"
        "    def __init__(self, by):\n        super().__init__()\n        self.by = torch.nn.Parameter(torch.ones(1))\n"
        "        self.register_buffer('fixed', torch.full((1,), float(by)), persistent=False)\n"
        "    def forward(self, rows):\n        return rows * self.by * self.fixed\n"
    )
    save_file({"by": torch.full((1,), 3.0)}, tmp_path / WEIGHTS)
    manifest = Manifest(
        task="regression",
        architecture=Architecture(name="Scale", arguments={"by": 2}),
        input=Signature(shape=[1]),
        code="net.py",
    )
    write_manifest(tmp_path, manifest)
    loaded, found = load_model(str(tmp_path))
    assert found == manifest
    assert loaded(torch.ones(1, 1)).tolist() == [[6.0]]
    (tmp_path / CODE / "net.py").rename(tmp_path / CODE / "other.py")
    with pytest.raises(ModelError, match=r"No file 'net.py' in the code folder"):
        load_model(tmp_path)
