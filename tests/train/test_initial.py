"""A run that starts from the weights of another."""

import tarfile

import numpy as np
import pytest
from safetensors.torch import load_file
from twofold.errors import ConfigError

FAST = {"hidden": "16", "batch_size": 16, "epochs": 5, "learning_rate": 0.01}


def archived(model, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target, "w:gz") as packed:
        for path in model.iterdir():
            packed.add(path, path.name)


@pytest.fixture
def first(make_tree, train_here, classes):
    return train_here(make_tree({"training": {"a.csv": classes(200)}}, **FAST))


@pytest.mark.parametrize("place", ["folder", "archive", "channel"])
def test_training_goes_on_from_the_weights_of_an_artifact(make_tree, train_here, classes, first, tmp_path, place):
    held_out = {"validation": {"v.csv": classes(60, seed=1)}}
    tiny = FAST | {"epochs": 1, "learning_rate": 1e-9}
    fresh = train_here(make_tree({"training": {"a.csv": classes(50)}, **held_out}, **tiny))
    archived(first.paths.model, tmp_path / "there" / "model.tar.gz")
    named = {"folder": first.paths.model, "archive": tmp_path / "there" / "model.tar.gz", "channel": "model"}[place]
    paths = make_tree({"training": {"a.csv": classes(50)}, **held_out}, **tiny, init_from=str(named))
    if place == "channel":
        archived(first.paths.model, paths.channel("model") / "model.tar.gz")
    tuned = train_here(paths)
    assert fresh.manifest.metrics["validation:accuracy"] < 0.8 < tuned.manifest.metrics["validation:accuracy"]
    before, after = (load_file(run.paths.model / "weights.safetensors") for run in (first, tuned))
    assert all(np.allclose(before[name], after[name], atol=1e-6) for name in before)


def test_other_classes_need_a_new_last_layer(make_tree, train_here, classes, first):
    four = {"training": {"a.csv": classes(80, labels=(0, 1, 2, 3))}}
    settings = FAST | {"init_from": str(first.paths.model)}
    with pytest.raises(ConfigError, match=r"3.weight has the shape \[3, 16\], here \[4, 16\].*'init_head' to 'new'"):
        train_here(make_tree(four, **settings))
    tuned = train_here(make_tree(four, **settings, init_head="new", max_steps=1))
    assert tuned.manifest.classes == [0, 1, 2, 3]
    before, after = (load_file(run.paths.model / "weights.safetensors") for run in (first, tuned))
    assert np.allclose(before["1.weight"], after["1.weight"], atol=0.02)
    assert np.array_equal(before["0.mean"], after["0.mean"])


def test_what_does_not_fit_is_named(make_tree, train_here, classes, first, tmp_path):
    channels = {"training": {"a.csv": classes(30)}}
    with pytest.raises(ConfigError, match=r"hidden is \[16\] there and \[8\] here"):
        train_here(make_tree(channels, **FAST | {"hidden": "8"}, init_from=str(first.paths.model)))
    with pytest.raises(ConfigError, match=r"the model is 'mlp' there and 'linear' here"):
        train_here(make_tree(channels, model="linear", init_from=str(first.paths.model)))
    with pytest.raises(ConfigError, match=r"init_from is 'old': there is no twofold.json.*training"):
        train_here(make_tree(channels, init_from="old"))
    (tmp_path / "model.tar.gz").write_bytes(b"no archive")
    with pytest.raises(ConfigError, match=r"model.tar.gz cannot be unpacked"):
        train_here(make_tree(channels, init_from=str(tmp_path)))


def test_an_archive_cannot_write_elsewhere(make_tree, train_here, classes, tmp_path):
    (tmp_path / "escape").write_text("")
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as packed:
        packed.add(tmp_path / "escape", "../../escaped")
    with pytest.raises(ConfigError, match="would lie outside of its folder"):
        train_here(make_tree({"training": {"a.csv": classes(30)}}, init_from=str(tmp_path)))
    assert not list(tmp_path.rglob("escaped"))
