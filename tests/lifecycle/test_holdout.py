"""The gate on held-out data: both models answer the same rows, whatever their own jobs were validated on."""

import json

import pytest
from twofold.contract.artifact import Architecture, Manifest, Signature
from twofold.errors import DataError, ModelError
from twofold.lifecycle.holdout import measured


def manifest(task, classes=None):
    return Manifest(task=task, architecture=Architecture(name="mlp"), input=Signature(shape=[2]), classes=classes)


def test_classes_are_found_by_their_names():
    rows = [["3", "9", "9", "0.25", "0.75"], ["7.0", "9", "9", "1", "0"], ["8", "9", "9", "0.5", "0.5"]]
    found = measured(rows, manifest("classification", [7, 3]))
    assert found["held-out:accuracy"] == pytest.approx(2 / 3), "a class that was never seen is wrong"
    assert found["held-out:loss"] == pytest.approx((0.2876821 + 0 + 34.5387764) / 3)
    words = measured([["cat", "1", "0.1", "0.9"]], manifest("classification", ["dog", "cat"]))
    assert words["held-out:accuracy"] == 1


def test_numbers_have_errors():
    found = measured([["1", "9", "9", "4"], ["2", "9", "9", "1"]], manifest("regression"))
    assert found == pytest.approx({"held-out:rmse": 5**0.5, "held-out:mae": 2, "held-out:loss": 5})


def test_what_cannot_be_measured_is_said():
    with pytest.raises(DataError, match=r"gate.data has no rows. Expected lines of CSV without a header line"):
        measured([], manifest("regression"))
    with pytest.raises(DataError, match=r"A row of gate.data or its answer has 'y', expected a number"):
        measured([["y", "1", "0.5"]], manifest("regression"))
    with pytest.raises(ModelError, match="A language model has no labels"):
        measured([["1", "2"]], manifest("language-modelling"))


def table(*, swapped):
    """Rows of two classes that the first feature tells apart, or the other way round."""
    numbers = range(-30, 31)
    return "".join(
        f"{int((number > 0) != swapped)},{number / 10},{number % 7 / 7:.3f}\n" for number in numbers if number
    )


@pytest.mark.slow
def test_two_models_answer_the_same_rows(project):
    for name, swapped in (("good", False), ("bad", True)):
        for channel in ("training", "validation"):
            place = project.folder / name / channel
            place.mkdir(parents=True)
            (place / "a.csv").write_text(table(swapped=swapped))
    (project.folder / "held.csv").write_text(table(swapped=False))
    project.run("init", "--project", project.name)
    gate = ["--data", "held.csv", "--metric", "held-out:accuracy", "--set", "gate.goal=Maximize"]

    def train(name):
        channels = [f"{channel}: {name}/{channel}" for channel in ("training", "validation")]
        given = ["-p", "epochs=20", "-p", "batch_size=16", "-p", "learning_rate=0.01", "-p", "hidden=[8]"]
        return project.run("train", "--set", f"train.data={{{', '.join(channels)}}}", *given).last

    train("good")
    alone = json.loads(project.run("evaluate", *gate, "--threshold", "0.9").out)
    assert (alone["metric"], alone["serving"], alone["reasons"]) == ("held-out:accuracy", None, [])
    project.run("register")
    project.run("approve")

    # Its own job says that it is as good: it was validated on data with the same fault.
    bad = train("bad")
    own = ["--metric", "validation:accuracy", "--set", "gate.goal=Maximize", "--set", "gate.tolerance=0.05"]
    assert json.loads(project.run("evaluate", "--from", bad, *own).out)["value"] > 0.9
    refused = project.run("evaluate", "--from", bad, *gate, fails=True)
    verdict = json.loads(refused.out)
    assert verdict["serving"] == alone["value"]
    assert verdict["value"] < 0.1
    assert "since the model that serves has" in refused.err
