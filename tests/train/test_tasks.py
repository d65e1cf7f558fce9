import math

import numpy as np
import pytest
import torch
from twofold.errors import ConfigError, DataError
from twofold.train.survey import Survey
from twofold.train.tasks import Classification, Regression, check_validation, choose_task, named


def looks_like(classes, std=2.0):
    return Survey(10, np.zeros(2), np.array([std, 1.0]), classes)


@pytest.mark.parametrize(
    ("wanted", "classes", "expected"),
    [
        ("auto", (0, 1), "classification"),
        ("auto", None, "regression"),
        ("auto", tuple(range(1001)), "regression"),
        ("auto", tuple(range(1000)), "classification"),
        ("regression", (0, 1), "regression"),
        ("classification", tuple(range(1001)), "classification"),
    ],
)
def test_the_task_is_the_one_asked_for_or_what_labels_look_like(wanted, classes, expected):
    assert choose_task(wanted, looks_like(classes), normalize=True).name == expected


def test_classification_of_quantities_is_refused():
    with pytest.raises(ConfigError, match=r"task is 'classification', but the labels.*set 'task' to 'regression'"):
        choose_task("classification", looks_like(None), normalize=True)


@pytest.mark.parametrize("wanted", ["auto", "classification"])
def test_a_single_class_is_refused(wanted):
    with pytest.raises(DataError, match=r"Every label \(first column\) of the training channel is 3"):
        choose_task(wanted, looks_like((3,)), normalize=True)


def test_targets_are_the_places_of_labels_among_the_classes():
    task = Classification((2, 5, 9))
    assert task.targets(torch.tensor([9.0, 2.0, 5.0, 2.0])).tolist() == [2, 0, 1, 0]
    assert task.outputs == 3


def test_cross_entropy_and_accuracy():
    task = Classification((0, 1))
    outputs = torch.tensor([[0.0, 0.0], [3.0, 0.0]])
    targets = torch.tensor([1, 0])
    assert task.losses(outputs, targets)[0].item() == pytest.approx(math.log(2))
    assert task.scores(outputs, targets).tolist() == [0, 1]
    assert task.metrics(0.5, 0.25) == {"loss": 0.5, "accuracy": 0.25}


def test_squared_error_in_variances_and_rmse_in_units():
    task = choose_task("regression", looks_like(None, std=2.0), normalize=True)
    outputs, targets = torch.tensor([[5.0], [1.0]]), torch.tensor([1.0, 1.0])
    assert task.losses(outputs, targets).tolist() == [4, 0]
    assert task.scores(outputs, targets).tolist() == [16, 0]
    assert task.metrics(2.0, 9.0) == {"loss": 2.0, "rmse": 3.0}


def test_a_constant_target_and_raw_values_are_not_scaled():
    for task in (Regression(0.0), choose_task("regression", looks_like(None), normalize=False)):
        assert task.losses(torch.tensor([[3.0]]), torch.tensor([1.0])).tolist() == [4]


@pytest.mark.parametrize("task", [Classification((0, 1)), Regression(1.0)])
def test_an_empty_share_has_no_losses(task):
    outputs = torch.empty(0, task.outputs, requires_grad=True)
    losses = task.losses(outputs, task.targets(torch.empty(0))).sum()
    losses.backward()
    assert losses.item() == 0


def test_validation_labels_must_be_known(samples_of):
    task = Classification((0, 2))
    check_validation(samples_of([[0, 1], [2, 1]], channel="val", suffix="csv"), task)
    strange = samples_of([[0, 1], [2, 1], [1, 5]], channel="validation", suffix="csv")
    with pytest.raises(DataError, match=r"Channel 'validation', file 0.csv, line 3: label 1 is not among"):
        check_validation(strange, task)


@pytest.mark.parametrize("task", [Classification((0, 1)), Regression(1.0)])
def test_validation_values_must_be_finite(samples_of, task):
    with pytest.raises(DataError, match=r"file 0.npy, record 1: feature 1 \(column 2\) is nan"):
        check_validation(samples_of([[0, 1], [1, np.nan]]), task)


def test_names_carry_the_channel():
    assert named("validation", {"loss": 1.0}) == {"validation:loss": 1.0}
