"""One rank in this process, from images, text, tokens and code of one's own to an artifact that others can build."""

import io
import json
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from twofold import load_model
from twofold.contract.artifact import CODE
from twofold.errors import ConfigError, DataError, ModelError
from twofold.formats import images
from twofold.models.gpt_generate import Sampling, generate_text
from twofold.serve.model import load
from twofold.train import survey
from twofold.train.loop import Trainer

ROOT = Path(__file__).parents[2]
TINY_GPT = {"model": "gpt", "width": 32, "layers": 1, "heads": 2, "context": 32, "learning_rate": 0.01}
TINY_RESNET = {"model": "resnet", "filters": 8, "batch_size": 32, "learning_rate": 0.003}
TEXT = "the cat sat on the mat. the dog sat on the log. " * 60


def png(pixels):
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


@pytest.fixture(scope="session")
def digits():
    """Give the digits as PNG files in folders: training and validation."""
    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8) * 15.9).astype(np.uint8)
    files = {
        f"d{label}/{number}.png": png(image) for number, (image, label) in enumerate(zip(images, labels, strict=True))
    }
    names = sorted(files, key=lambda name: int(name.split("/")[1][:-4]))
    return {name: files[name] for name in names[:600]}, {name: files[name] for name in names[600:760]}


def module_of(trained):
    """Load the module as anybody would who has the folder only, and let the server answer with it too."""
    module, manifest = load_model(trained.paths.model)
    rows = np.zeros((2, *manifest.input.shape), dtype=manifest.input.dtype)
    served = load(trained.paths.model).predict(rows)
    answers = module(torch.from_numpy(rows))
    scores = answers[:, -1] if manifest.task == "language-modelling" else answers
    assert torch.allclose(torch.from_numpy(served), scores.softmax(dim=1), atol=1e-5)
    return module


def test_a_resnet_learns_digits_from_folders_of_images(make_tree, train_here, digits):
    training, validation = digits
    trained = train_here(make_tree({"training": training, "validation": validation}, **TINY_RESNET, epochs=8))
    manifest = trained.manifest
    assert manifest.metrics["validation:accuracy"] > 0.8
    assert 0.8 < manifest.metrics["validation:f1"] < 1
    assert manifest.classes == [f"d{digit}" for digit in range(10)]
    assert (manifest.input.shape, manifest.input.dtype) == ([3, 8, 8], "uint8")
    names = list(validation)
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(validation[name])).convert("RGB")) for name in names])
    answers = module_of(trained)(torch.from_numpy(pixels).permute(0, 3, 1, 2)).argmax(dim=1)
    right = [
        manifest.classes[answer] == name.split("/")[0] for answer, name in zip(answers.tolist(), names, strict=True)
    ]
    assert sum(right) / len(right) == pytest.approx(manifest.metrics["validation:accuracy"], abs=1e-6)


def test_pixels_are_normalised_by_the_training_data(make_tree, train_here, digits):
    training = dict(list(digits[0].items())[:40])
    trained = train_here(make_tree({"training": training}, **TINY_RESNET, epochs=1))
    pixels = np.stack(
        [np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=float) for data in training.values()]
    )
    weights = load_file(trained.paths.model / "weights.safetensors")
    assert weights["normalize.mean"].flatten().tolist() == pytest.approx(pixels.mean(axis=(0, 1, 2)), rel=1e-5)
    assert (1 / weights["normalize.scale"]).flatten().tolist() == pytest.approx(pixels.std(axis=(0, 1, 2)), rel=1e-4)


def test_images_of_all_sizes_are_brought_to_one(make_tree, train_here):
    random = np.random.default_rng(0)
    shapes = [(9, 12), (20, 8), (8, 8), (30, 31)]
    files = {
        f"{'ab'[n % 2]}/{n}.png": png(random.integers(0, 256, (*shape, 3), np.uint8)) for n, shape in enumerate(shapes)
    }
    with pytest.raises(DataError, match=r"Images .* set 'image_size'"):
        train_here(make_tree({"training": files}, **TINY_RESNET))
    trained = train_here(make_tree({"training": files}, **TINY_RESNET, image_size=10, epochs=1))
    assert trained.manifest.input.shape == [3, 10, 10]


def test_classes_have_the_same_numbers_in_all_channels(make_tree, train_here, digits):
    training, validation = digits
    few = {name: data for name, data in validation.items() if name.startswith(("d7", "d9"))}
    settings = TINY_RESNET | {"epochs": 4}
    trained = train_here(make_tree({"training": training, "validation": few}, **settings))
    assert trained.manifest.metrics["validation:accuracy"] > 0.5
    few["dx/1.png"] = next(iter(few.values()))
    with pytest.raises(DataError, match=r"Channel 'validation' has images of the class 'dx'.*d0, d1"):
        train_here(make_tree({"training": training, "validation": few}, **settings))


def test_a_resnet_on_rows_of_numbers_is_refused(make_tree, train_here, classes):
    with pytest.raises(DataError, match=r"has no image in its fields.*set 'model' to 'mlp'"):
        train_here(make_tree({"training": {"a.csv": classes(9)}}, model="resnet"))


def test_a_gpt_learns_a_text_and_goes_on_with_it(make_tree, train_here):
    channels = {"training": {"a.txt": TEXT}, "validation": {"v.txt": TEXT[:200]}}
    settings = TINY_GPT | {"epochs": 12, "batch_size": 8, "schedule": "cosine", "warmup_steps": 10}
    trained = train_here(make_tree(channels, **settings))
    manifest = trained.manifest
    assert (manifest.task, manifest.classes) == ("language-modelling", None)
    assert (manifest.input.shape, manifest.input.dtype) == ([32], "int64")
    assert manifest.architecture.arguments["vocabulary"] == 257
    assert manifest.metrics["validation:perplexity"] == pytest.approx(np.exp(manifest.metrics["validation:loss"]))
    assert manifest.metrics["validation:perplexity"] < 1.6
    first = json.loads(trained.history.splitlines()[0])
    assert first["train:perplexity"] > 10
    said = "".join(generate_text(module_of(trained), "the cat sat on", max_tokens=9, sampling=Sampling(temperature=0)))
    assert said in {" the mat.", " the log."}


@pytest.mark.parametrize("shape", [(40, 9), (361,)])
def test_a_gpt_learns_tokens_in_rows_or_in_one_long_one(make_tree, train_here, shape):
    tokens = (np.arange(np.prod(shape)) * 3 % 7).reshape(shape).astype(np.uint16)
    settings = TINY_GPT | {"context": 8, "epochs": 8, "batch_size": 8}
    trained = train_here(make_tree({"training": {"a.npy": tokens}}, **settings, positions="learned"))
    arguments = trained.manifest.architecture.arguments
    assert (arguments["vocabulary"], arguments["tokenizer"], arguments["context"]) == (7, "none", 8)
    assert json.loads(trained.history.splitlines()[-1])["train:accuracy"] > 0.7
    assert json.loads(trained.history.splitlines()[-1])["train:perplexity"] < 3


@pytest.mark.parametrize(
    ("channels", "settings", "error", "message"),
    [
        (
            {"training": {"a.txt": "short"}},
            {},
            DataError,
            r"'training' has 7 tokens. Expected .* = 33: lower 'context'",
        ),
        ({"training": {"a.txt": b"ok" * 50 + b"\xff\xfe"}}, {}, DataError, r"file a.txt: byte 100 is no UTF-8"),
        ({"training": {"a.npy": np.zeros((3, 4))}}, {}, DataError, "of which 0 hold whole numbers. Expected text"),
        ({"training": {"a.npy": np.full((3, 4), -1)}}, {}, DataError, r"record 0: token -1 is negative"),
        (
            {"training": {"a.npy": np.full((3, 4), 5)}, "validation": {"v.npy": np.full((1, 4), 6)}},
            {},
            DataError,
            r"file v.npy, record 0: token 6 is not among the 6 of the training channel.*'vocabulary'",
        ),
        (
            {"training": {"a.npy": np.full((3, 4), 5)}},
            {"vocabulary": 5},
            ConfigError,
            "has the token 5. Expected at least 6",
        ),
        ({"training": {"a.txt": TEXT}}, {"task": "regression"}, ConfigError, "task is 'regression', but 'gpt'"),
        (
            {"training": {"a.txt": TEXT}},
            {"model": "mlp", "task": "language-modelling"},
            ConfigError,
            "model is 'mlp' for",
        ),
        ({"training": {"a.txt": TEXT}}, {"width": 30, "heads": 4}, ConfigError, "width is 30 with 4 heads"),
    ],
)
def test_text_and_tokens_that_cannot_be_trained_on_are_named(make_tree, train_here, channels, settings, error, message):
    with pytest.raises(error, match=message):
        train_here(make_tree(channels, **(TINY_GPT | settings)))


NET = """
from torch import nn
from layers import widths

class Net(nn.Module):
    def __init__(self, features, outputs, depth):
        super().__init__()
        sizes = widths(features, depth)
        self.body = nn.Sequential(*(nn.Sequential(nn.Linear(a, b), nn.Tanh()) for a, b in zip(sizes, sizes[1:])))
        self.head = nn.Linear(sizes[-1], outputs)

    def forward(self, rows):
        return self.head(self.body(rows))

def build(features, outputs, depth=1):
    return Net(features, outputs, depth)
"""
LAYERS = "def widths(features, depth):\n    return [features] + [16] * depth\n"


@pytest.fixture
def own(make_tree, classes):
    def made(files=None, **settings):
        channels = {"training": {"a.csv": classes(300)}, "validation": {"v.csv": classes(60, seed=1)}}
        paths = make_tree(channels, batch_size=16, epochs=4, learning_rate=0.01, **settings)
        paths.code.mkdir()
        for name, content in (files or {"net.py": NET, "layers.py": LAYERS}).items():
            (paths.code / name).write_text(content)
        return paths

    return made


@pytest.mark.parametrize("settings", [{"model_arguments": {"depth": 2}}, {"model_depth": 2}])
def test_an_own_model_is_trained_and_travels_with_its_code(own, train_here, settings):
    trained = train_here(own(model="net.py:build", **settings))
    manifest = trained.manifest
    assert manifest.metrics["validation:accuracy"] > 0.9
    assert manifest.code == "net.py"
    assert manifest.architecture.name == "build"
    assert manifest.architecture.arguments == {"features": 3, "outputs": 3, "depth": 2}
    assert sorted(path.name for path in (trained.paths.model / CODE).iterdir()) == ["layers.py", "net.py"]
    assert module_of(trained)(torch.zeros(2, 3)).shape == (2, 3)


def test_code_may_come_in_a_channel(own, train_here, tmp_path):
    paths = own({"unrelated.py": ""}, model="net:build")
    paths.channel("code").mkdir()
    (paths.channel("code") / "net.py").write_text(NET)
    (paths.channel("code") / "layers.py").write_text(LAYERS)
    assert train_here(paths).manifest.code == "net.py"


@pytest.mark.parametrize(
    ("files", "settings", "message"),
    [
        ({"other.py": ""}, {}, r"No file 'net.py' in the code folder .*there: other.py"),
        ({"net.py": "x = 1"}, {}, r"net.py has no function 'build'"),
        ({"net.py": "import not_there"}, {}, r"net.py failed when it was imported: ModuleNotFoundError"),
        ({"net.py": "def build(): raise OSError('no')"}, {}, r"net.py:build failed with the arguments {}: OSError: no"),
        ({"net.py": "def build(): return 5"}, {}, r"returned int. Expected an nn.Module"),
        ({"net.py": "def build(): return 5"}, {"model_arguments": {"a": 1}}, r"unexpected keyword argument 'a'"),
    ],
)
def test_an_own_model_that_cannot_be_built_is_named(own, train_here, files, settings, message):
    with pytest.raises(ModelError, match=message):
        train_here(own(files, model="net.py:build", **settings))


def test_the_readme_s_lines_load_an_artifact(make_tree, train_here, classes, monkeypatch, capsys):
    trained = train_here(make_tree({"training": {"a.csv": classes(200)}}, hidden=16, learning_rate=0.01, batch_size=16))
    monkeypatch.chdir(trained.paths.base)
    rows = classes(9, seed=1)
    np.savetxt("rows.csv", rows[:, 1:], delimiter=",")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = (block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "load_model" in block)
    assert len(block.strip().splitlines()) <= 10
    exec(block, {})
    answers = [line.split() for line in capsys.readouterr().out.splitlines() if line[:1].isdigit()]
    assert [int(answer) for answer, _ in answers[-9:]] == rows[:, 0].tolist()


@pytest.mark.parametrize("stop", [3, 7])
@pytest.mark.parametrize("model", ["gpt", "resnet"])
def test_a_run_that_was_stopped_ends_in_the_same_weights(make_tree, train_here, digits, model, stop):
    text, pictures = {"training": {"a.txt": TEXT}}, {"training": dict(list(digits[0].items())[:80])}
    settings = TINY_GPT | {"dropout": 0.1} if model == "gpt" else TINY_RESNET
    runs = [make_tree(text if model == "gpt" else pictures, **settings | {"epochs": 3, "batch_size": 20}) for _ in "ab"]
    whole = train_here(runs[0])
    runs[1].checkpoints.mkdir()
    train_here(runs[1], stop_after=stop)
    assert train_here(runs[1]).weights == whole.weights


@pytest.mark.slow
@pytest.mark.procs
@pytest.mark.parametrize("model", ["gpt", "resnet"])
def test_any_number_of_processes_learns_the_same(make_tree, run_verb, digits, model):
    """Shares of a batch are uneven, and in its last step a rank has nothing."""
    text = {"training": {"a.txt": TEXT[:650]}, "validation": {"v.txt": TEXT[:200]}}
    pictures = {"training": dict(list(digits[0].items())[:21]), "validation": dict(list(digits[1].items())[:9])}
    settings = (TINY_GPT if model == "gpt" else TINY_RESNET) | {"epochs": 3, "batch_size": 5}
    histories = [
        run_verb(
            "twofold.train", make_tree(text if model == "gpt" else pictures, **settings, processes_per_host=n)
        ).history
        for n in (1, 2, 3)
    ]
    for alone, *others in zip(*histories, strict=True):
        for other in others:
            assert {name: value for name, value in other.items() if ":" in name} == pytest.approx(
                {name: value for name, value in alone.items() if ":" in name}, rel=1e-4, abs=1e-5
            )


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_words_are_labels_too(make_tree, train_here, classes, form):
    words = ["ash", "oak", "elm"]

    def table(rows):
        if form == "csv":
            return "species,a,b,c\n" + "".join(f"{words[int(row[0])]},{row[1]},{row[2]},{row[3]}\n" for row in rows)
        return "".join(json.dumps({"a": list(row[1:]), "species": words[int(row[0])]}) + "\n" for row in rows)

    held_out = table(classes(60, seed=1)[1::3])  # of oaks only: they still have the number that training gave them
    channels = {"training": {f"a.{form}": table(classes(300))}, "validation": {f"v.{form}": held_out}}
    settings = {"label": "species", "hidden": 16, "learning_rate": 0.01, "batch_size": 16, "epochs": 4}
    trained = train_here(make_tree(channels, **settings))
    assert trained.manifest.classes == ["ash", "elm", "oak"]
    assert trained.manifest.metrics["validation:accuracy"] > 0.9
    with pytest.raises(ConfigError, match="task is 'regression', but labels are words"):
        train_here(make_tree(channels, **settings, task="regression"))
    channels["validation"] = {f"v.{form}": held_out.replace("oak", "fir")}
    with pytest.raises(DataError, match="Label 'fir' is not among those of the training channel: ash, elm, oak"):
        train_here(make_tree(channels, **settings))


def test_of_many_images_in_folders_only_some_are_decoded_before_training(make_tree, train_here, digits, monkeypatch):
    monkeypatch.setattr(survey, "_IMAGES_LOOKED_AT", 50)
    decoded = []
    decode = images.decode
    monkeypatch.setattr(images, "decode", lambda *given: decoded.append(1) or decode(*given))
    before = []
    fit = Trainer.fit
    monkeypatch.setattr(Trainer, "fit", lambda *given: before.append(len(decoded)) or fit(*given))
    trained = train_here(make_tree({"training": digits[0]}, **TINY_RESNET, max_steps=1, class_weights="balanced"))
    assert 50 <= before[0] < 100, "of 600"
    assert trained.manifest.classes == [f"d{digit}" for digit in range(10)]
    everything = np.stack([np.asarray(Image.open(io.BytesIO(data)), dtype=float) for data in digits[0].values()])
    mean = load_file(trained.paths.model / "weights.safetensors")["normalize.mean"].flatten()
    assert mean.tolist() == pytest.approx([everything.mean()] * 3, rel=0.1)


@pytest.mark.parametrize("packed", [False, True])
def test_code_may_come_from_where_the_sdk_puts_it(own, train_here, tmp_path, packed):
    source = tmp_path / "source"
    source.mkdir()
    (source / "net.py").write_text(NET)
    (source / "layers.py").write_text(LAYERS)
    if packed:
        with tarfile.open(tmp_path / "sourcedir.tar.gz", "w:gz") as archive:
            archive.add(source, ".")
        source = tmp_path / "sourcedir.tar.gz"
    trained = train_here(own({"unrelated.py": ""}, model="net.py:build", sagemaker_submit_directory=str(source)))
    assert sorted(path.name for path in (trained.paths.model / CODE).iterdir()) == ["layers.py", "net.py"]
    assert trained.manifest.metrics["validation:accuracy"] > 0.8
