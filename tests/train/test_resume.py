"""A run that was stopped and started again is the run that was never stopped: bit for bit, wherever it was stopped."""

import json

import pytest

TINY = {"hidden": "8", "batch_size": 8, "epochs": 3, "learning_rate": 0.01}
STEPS = 12
STOPS = (1, 3, 4, 9, 12)
"""In the middle of an epoch, at its end, and at the end of all."""

SETTINGS = {
    "plain": {},
    "dropout": {"dropout": 0.3, "hidden": "8,8"},
    "schedule": {"schedule": "cosine", "warmup_steps": 3, "weight_decay": 0.1, "grad_clip": 0.5},
    # Features in the hundreds overflow until the loss scale has come down: a resumed run must know that scale.
    "fp16": {"precision": "fp16", "normalize": False},
    "bf16": {"precision": "bf16"},
    "often": {"checkpoint_every": 1},
    "rarely": {"checkpoint_every": 5},
    "micro": {"micro_batch_size": 3},
    "eval": {"eval_every": 2},
    "patience": {"patience": 1, "learning_rate": 1.0},
    "max_steps": {"max_steps": 10},
}


def timeless(history):
    """Records without their times; sums of an epoch in two parts can differ in the last digit."""
    records = [
        {**json.loads(line), "seconds": 0.0, "samples_per_second": 0.0, "data_wait": 0.0}
        for line in history.splitlines()
    ]
    return [{name: round(value, 9) for name, value in record.items()} for record in records]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_stop_changes_nothing(make_tree, train_here, classes, name):
    units = [1, 100, 100, 100]
    channels = {"training": {"a.csv": classes(30) * units}}
    if name != "plain":
        channels["validation"] = {"a.csv": classes(12, seed=1) * units}
    parameters = {**TINY, **SETTINGS[name]}
    unbroken = train_here(make_tree(channels, **parameters))
    for stop in STOPS:
        paths = make_tree(channels, **parameters)
        paths.checkpoints.mkdir()
        train_here(paths, stop_after=stop)
        resumed = train_here(paths)
        assert resumed.weights == unbroken.weights, f"stopped after step {stop}"
        assert timeless(resumed.history) == timeless(unbroken.history)
        if resumed.manifest.metrics:
            assert resumed.manifest.metrics == pytest.approx(unbroken.manifest.metrics)


def test_many_stops_change_nothing(make_tree, train_here, classes):
    channels = {"training": {"a.csv": classes(30)}}
    unbroken = train_here(make_tree(channels, **TINY))
    paths = make_tree(channels, **TINY)
    paths.checkpoints.mkdir()
    for _ in range(STEPS):
        train_here(paths, stop_after=1)
    assert train_here(paths).weights == unbroken.weights


def test_a_run_cut_by_max_steps_goes_on_where_it_was_cut(make_tree, train_here, classes):
    """The samples of the epoch that were not seen yet come when the bound is raised."""
    channels = {"training": {"a.csv": classes(30)}}
    unbroken = train_here(make_tree(channels, **TINY))
    paths = make_tree(channels, **TINY, max_steps=6)
    paths.checkpoints.mkdir()
    train_here(paths)
    paths.hyperparameters.write_text(json.dumps(TINY))
    assert train_here(paths).weights == unbroken.weights


def test_without_a_folder_for_checkpoints_none_is_written(make_tree, train_here, classes):
    paths = make_tree({"training": {"a.csv": classes(30)}}, **TINY)
    train_here(paths)
    assert not paths.checkpoints.exists()
    wanting = make_tree({"training": {"a.csv": classes(30)}}, **TINY, checkpoint_every=5)
    train_here(wanting)
    assert sorted(path.name for path in wanting.checkpoints.iterdir()) == [
        "step-000000005",
        "step-000000010",
    ]


def test_a_stopped_run_leaves_an_artifact_with_the_metrics_of_its_weights(make_tree, train_here, classes):
    alone = train_here(make_tree({"training": {"a.csv": classes(30)}}, **TINY), stop_after=6)
    assert set(alone.manifest.metrics) == {"train:loss", "train:accuracy"}
    channels = {"training": {"a.csv": classes(30)}, "validation": {"a.csv": classes(12)}}
    validated = train_here(make_tree(channels, **TINY), stop_after=6)
    first_epoch = json.loads(validated.history.splitlines()[0])
    assert validated.manifest.metrics["validation:loss"] == first_epoch["validation:loss"]
