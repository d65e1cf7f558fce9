"""One rank in this process: what each kind of job ends in."""

import json
import logging
import subprocess
import sys

import numpy as np
import pytest
from twofold.contract import logs
from twofold.errors import ConfigError, DataError, UserError
from twofold.train import program, reports

FAST = {"hidden": "16", "batch_size": 16, "epochs": 5, "learning_rate": 0.01}


def metrics(trained):
    return json.loads(trained.history.splitlines()[-1])


@pytest.mark.parametrize("model", ["linear", "mlp"])
def test_a_classifier_learns(make_tree, train_here, classes, model):
    channels = {"training": {"a.csv": classes(300)}, "validation": {"v.csv": classes(60, seed=1)}}
    trained = train_here(make_tree(channels, **FAST, model=model))
    assert trained.manifest.metrics["validation:accuracy"] > 0.9
    assert trained.manifest.classes == [0, 1, 2]
    assert trained.manifest.architecture.name == model


@pytest.mark.parametrize("model", ["linear", "mlp"])
def test_a_regression_beats_the_mean(make_tree, train_here, quantities, model):
    held_out = quantities(60, seed=1)
    channels = {"train": {"a.npy": quantities(400)}, "val": {"v.npy": held_out}}
    trained = train_here(make_tree(channels, **{**FAST, "epochs": 20, "learning_rate": 0.03}, model=model))
    assert trained.manifest.task == "regression"
    assert trained.manifest.classes is None
    assert trained.manifest.metrics["validation:rmse"] < held_out[:, 0].std() / 3


@pytest.mark.parametrize("model", ["linear", "mlp"])
def test_two_classes_have_an_auc_and_rare_ones_a_weight(make_tree, train_here, model):
    random = np.random.default_rng(0)
    labels = (random.random(600) < 0.1).astype(int)
    rows = np.column_stack([labels, random.normal(size=(600, 2)) + labels[:, None]])
    channels = {"training": {"a.csv": rows[:400]}, "validation": {"v.csv": rows[400:]}}
    plain = train_here(make_tree(channels, **FAST, model=model)).manifest.metrics
    weighted = train_here(make_tree(channels, **FAST, model=model, class_weights="balanced")).manifest.metrics
    given = train_here(make_tree(channels, **FAST, model=model, class_weights=[1, 9])).manifest.metrics
    assert 0.7 < plain["validation:auc"] < 0.95
    assert weighted["validation:auc"] == pytest.approx(plain["validation:auc"], abs=0.05)
    # More of the rare class is found, at the price of more false alarms.
    assert max(given["validation:accuracy"], weighted["validation:accuracy"]) < plain["validation:accuracy"]


def test_classes_may_have_any_numbers(make_tree, train_here, classes):
    channels = {"training": {"a.csv": classes(90, labels=(3, 7, 40))}, "test": {"v.csv": classes(30, (3, 7, 40), 1)}}
    trained = train_here(make_tree(channels, **FAST))
    assert trained.manifest.classes == [3, 7, 40]
    assert trained.manifest.architecture.arguments["outputs"] == 3
    assert trained.manifest.metrics["validation:accuracy"] > 0.8


def test_npy_and_csv_of_the_same_numbers_give_the_same_model(make_tree, train_here, classes):
    rows = classes(50).astype(np.float32)
    csv, npy = (train_here(make_tree({"training": {name: rows}}, **FAST)).weights for name in ("a.csv", "a.npy"))
    assert csv == npy


@pytest.mark.parametrize("settings", [{"micro_batch_size": 3}, {"micro_batch_size": 1}])
def test_micro_batches_do_not_change_the_loss(make_tree, train_here, classes, settings):
    tree = {"training": {"a.csv": classes(50)}}
    whole = metrics(train_here(make_tree(tree, **FAST)))
    parts = metrics(train_here(make_tree(tree, **FAST, **settings)))
    assert parts["train:loss"] == pytest.approx(whole["train:loss"], abs=1e-5)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_learns_nearly_the_same(make_tree, train_here, classes, precision):
    tree = {"training": {"a.csv": classes(50)}}
    full = metrics(train_here(make_tree(tree, **FAST)))
    half = metrics(train_here(make_tree(tree, **FAST, precision=precision)))
    assert half["train:loss"] != full["train:loss"]
    assert half["train:loss"] == pytest.approx(full["train:loss"], rel=0.05)


def test_seeds_give_other_models_and_the_same_seed_the_same(make_tree, train_here, classes):
    tree = {"training": {"a.csv": classes(50)}}
    one, again, other = (train_here(make_tree(tree, **FAST, seed=seed)).weights for seed in (1, 1, 2))
    assert one == again
    assert one != other


def test_the_best_weights_are_kept(make_tree, train_here, classes):
    channels = {"training": {"a.csv": classes(40)}, "validation": {"v.csv": classes(40, seed=1)}}
    trained = train_here(make_tree(channels, **{**FAST, "learning_rate": 0.5}))
    losses = [json.loads(line)["validation:loss"] for line in trained.history.splitlines()]
    assert trained.manifest.metrics["validation:loss"] == min(losses)
    assert min(losses) < losses[-1], "this run was to get worse at its end"


def test_patience_ends_a_run_that_gets_no_better(make_tree, train_here, classes):
    channels = {"training": {"a.csv": classes(40)}, "validation": {"v.csv": classes(40, seed=1)}}
    trained = train_here(make_tree(channels, **{**FAST, "epochs": 50, "learning_rate": 0.5}, patience=2))
    losses = [json.loads(line)["validation:loss"] for line in trained.history.splitlines()]
    assert len(losses) < 50
    assert min(losses) == losses[-3]


def test_patience_without_anything_to_measure_on_is_refused(make_tree, train_here, classes):
    with pytest.raises(ConfigError, match=r"patience is 2, but there is no channel to measure on.*'validation'"):
        train_here(make_tree({"training": {"a.csv": classes(40)}}, **FAST, patience=2))


def test_evaluations_come_every_so_many_epochs_and_at_the_end(make_tree, train_here, classes):
    channels = {"training": {"a.csv": classes(40)}, "validation": {"v.csv": classes(40, seed=1)}}
    trained = train_here(make_tree(channels, **FAST, eval_every=2))
    assert ["validation:loss" in json.loads(line) for line in trained.history.splitlines()] == [
        False,
        True,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(("bound", "epochs", "steps"), [(0, 5, 15), (4, 2, 4), (3, 1, 3), (100, 5, 15)])
def test_max_steps_is_a_bound(make_tree, train_here, classes, bound, epochs, steps):
    trained = train_here(make_tree({"training": {"a.csv": classes(40)}}, **FAST, max_steps=bound))
    assert (metrics(trained)["epoch"], metrics(trained)["step"]) == (epochs, steps)


def test_a_batch_larger_than_the_data_is_one_step(make_tree, train_here, classes):
    trained = train_here(make_tree({"training": {"a.csv": classes(5)}}, **{**FAST, "batch_size": 64}))
    assert metrics(trained)["step"] == 5


GOOD = "0,1,2\n1,2,3\n"


@pytest.mark.parametrize(
    ("channels", "error", "message"),
    [
        ({}, DataError, r"No training channel: the channels of this job are: none.*'training' or 'train'"),
        ({"data": {"a.csv": GOOD}}, DataError, "channels of this job are: data"),
        ({"training": {}}, DataError, "Channel 'training' is empty"),
        ({"training": {"a.csv": "y,2,b\n" + GOOD}}, DataError, r"file a.csv: line 1, column 1 is 'y'.*header line"),
        ({"training": {"a.csv": "y,a\n0,1\n1\n"}}, DataError, r"file a.csv: line 3 has 1 value, expected 2"),
        ({"training": {"a.csv": GOOD + "0,1,old\n"}}, DataError, r"file a.csv: line 3, column 3 is 'old'"),
        ({"training": {"a.csv": "0,1\n0,2\n"}}, DataError, "Expected at least two classes"),
        ({"training": {"a.npy": b"junk"}}, DataError, r"file a.npy: a.npy starts with b'junk' but its name says npy"),
        (
            {"training": {"a.npy": np.array([[0, 1.0], [np.nan, 2], [1, 3]])}},
            DataError,
            r"file a.npy, record 1: the label \(column 1\) is nan",
        ),
        (
            {"training": {"a.csv": GOOD}, "validation": {"v.csv": "0,1\n"}},
            DataError,
            "Channel 'validation' has 1 features a sample, channel 'training' has 2",
        ),
        (
            {"training": {"a.csv": GOOD}, "validation": {"v.csv": "0,1,2\n2,1,2\n"}},
            DataError,
            r"Channel 'validation', file v.csv, line 2: label 2 is not among the 2 classes",
        ),
        ({"training": {"a.csv": GOOD}, "validation": {}}, DataError, "Channel 'validation' is empty"),
    ],
)
def test_data_that_cannot_be_trained_on_is_named(make_tree, train_here, channels, error, message):
    with pytest.raises(error, match=message):
        train_here(make_tree(channels))


def test_a_loss_that_is_no_number_ends_with_a_hint(make_tree, train_here, quantities):
    paths = make_tree({"training": {"a.csv": quantities(64)}}, **{**FAST, "learning_rate": 1e30})
    with pytest.raises(UserError, match=r"train:loss is (nan|inf) after step \d+.*'learning_rate' \(now 1e\+30\)"):
        train_here(paths)
    assert not paths.model.exists()


def test_a_header_names_the_label(make_tree, train_here):
    lines = [f"{number / 10},{number % 2},{number}" for number in range(40)]
    table = "\n".join(["width,label,size", *lines])
    trained = train_here(make_tree({"training": {"a.csv": table}}, **FAST))
    assert (trained.manifest.task, trained.manifest.classes) == ("classification", [0, 1])
    trained = train_here(make_tree({"training": {"a.csv": table}}, **FAST, label="width"))
    assert trained.manifest.task == "regression"


@pytest.fixture
def main(tmp_path):
    """Run `program.main` as the agent does, and give back its exit code and the report."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def run(paths, **environ):
        scratch = tmp_path / "main"
        scratch.mkdir()
        code = program.main({"SAGEMAKER_BASE_DIR": str(paths.base), reports.SCRATCH_VARIABLE: str(scratch), **environ})
        return code, reports.first(scratch)

    yield run
    root.handlers[:], root.level = handlers, level


def test_a_good_run_leaves_no_report(make_tree, main, classes):
    assert main(make_tree({"training": {"a.csv": classes(9)}}, **FAST)) == (0, None)


def test_an_error_is_reported_with_its_class(make_tree, main):
    code, report = main(make_tree({}))
    assert code == report.exit_code == 3
    assert report.source == "rank 0"
    assert report.message.startswith("data: No training channel")
    assert not report.peer


def test_an_error_that_nobody_foresaw_is_reported_with_its_place(make_tree, main, monkeypatch, capsys):
    def surprise(*_):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(program, "survey", surprise)
    code, report = main(make_tree({"training": {"a.csv": "0,1\n1,2\n"}}))
    assert code == 1
    assert report.message.startswith("user code: ZeroDivisionError: division by zero (at ")
    assert "Traceback" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "peer"),
    [
        (RuntimeError("[/build/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("gloo/"), False),
    ],
)
def test_a_broken_connection_is_the_echo_of_another_ranks_end(make_tree, main, monkeypatch, error, peer):
    def fail(*_):
        raise error

    monkeypatch.setattr(program, "survey", fail)
    _, report = main(make_tree({"training": {"a.csv": "0,1\n1,2\n"}}))
    assert report.peer is peer
    assert report.message.startswith("network: another rank or host ended first, look there for the cause: ") is peer


def test_levels_of_the_log_are_read_once(make_tree, main, classes, capsys):
    main(make_tree({"training": {"a.csv": classes(9)}}, **FAST, sagemaker_container_log_level="40"))
    assert capsys.readouterr().out == ""
    assert logs.DEFAULT_LEVEL == logging.INFO


def test_a_rank_leaves_without_taking_the_interpreter_down():
    """Native threads that come back to an interpreter that is going abort the process, after a job that was good."""
    code = (
        "import atexit, logging; from twofold.train.program import leave; "
        "atexit.register(lambda: print('taken down')); print('said', end=''); leave(3)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "said")
