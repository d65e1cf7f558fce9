import pytest
import torch
from twofold.errors import ModelError
from twofold.models.own import accepted, build_own, load_function

LINEAR = "import torch\ndef build(features, outputs=1):\n    return torch.nn.Linear(features, outputs)\n"


def code(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.py").write_text(content)
    return folder


def test_a_function_builds_the_module(tmp_path):
    module = build_own(code(tmp_path, net=LINEAR), "net.py", "build", {"features": 3, "outputs": 2})
    assert module(torch.zeros(1, 3)).shape == (1, 2)


def test_two_models_may_have_a_file_of_the_same_name(tmp_path):
    one = code(tmp_path / "one", net=LINEAR)
    two = code(tmp_path / "two", net="import torch\ndef build():\n    return torch.nn.ReLU()\n")
    assert isinstance(build_own(one, "net.py", "build", {"features": 1}), torch.nn.Linear)
    assert isinstance(build_own(two, "net.py", "build", {}), torch.nn.ReLU)


def test_a_hostile_name_beside_it_hides_nothing(tmp_path):
    folder = code(tmp_path, net=LINEAR, torch="raise SystemExit('hidden')", json="raise SystemExit('hidden')")
    assert build_own(folder, "net.py", "build", {"features": 3}) is not None


def test_a_file_outside_the_folder_is_refused(tmp_path):
    code(tmp_path, net=LINEAR)
    with pytest.raises(ModelError, match=r"No file '\.\./net\.py'"):
        load_function(code(tmp_path / "inner"), "../net.py", "build")


def test_only_what_a_function_names_is_offered(tmp_path):
    function = load_function(code(tmp_path, net=LINEAR), "net.py", "build")
    assert accepted(function, {"features": 3, "shape": [3]}) == {"features": 3}
