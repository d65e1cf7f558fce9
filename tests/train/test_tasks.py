import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from twofold.errors import ConfigError, DataError
from twofold.train.config import TrainingConfig
from twofold.train.survey import Survey
from twofold.train.tasks import Classification, LanguageModelling, Regression, check_validation, choose_task, named


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
    assert choose_task(TrainingConfig(task=wanted, normalize=True), looks_like(classes)).name == expected


def test_classification_of_quantities_is_refused():
    with pytest.raises(ConfigError, match=r"task is 'classification', but the labels.*set 'task' to 'regression'"):
        choose_task(TrainingConfig(task="classification", normalize=True), looks_like(None))


@pytest.mark.parametrize("wanted", ["auto", "classification"])
def test_a_single_class_is_refused(wanted):
    with pytest.raises(DataError, match=r"Every label \(first column\) of the training channel is 3"):
        choose_task(TrainingConfig(task=wanted, normalize=True), looks_like((3,)))


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


def test_evaluations_add_what_needs_all_samples():
    outputs, targets = torch.tensor([[0.0, 1.0], [3.0, 0.0], [0.0, 2.0]]), torch.tensor([1, 0, 0])
    task = Classification((0, 1))
    found = task.metrics(0.5, 2 / 3, task.tally(outputs, targets))
    assert found == pytest.approx({"loss": 0.5, "accuracy": 2 / 3, "f1": 2 / 3, "auc": 0.5})
    task = Regression(1.0)
    errors = task.tally(torch.tensor([[5.0], [1.0]]), torch.tensor([2.0, 2.0]))
    assert task.metrics(2.0, 9.0, errors) == {"loss": 2.0, "rmse": 3.0, "mae": 2.0}


def test_weights_of_classes_multiply_the_loss():
    outputs, targets = torch.randn(6, 3), torch.tensor([0, 0, 0, 0, 1, 2])
    plain = Classification((0, 1, 2)).losses(outputs, targets)
    facts = Survey(6, np.zeros(2), np.ones(2), (0, 1, 2), (4, 1, 1))
    weighted = choose_task(TrainingConfig(task="auto", class_weights=[1, 2, 3.5]), facts).losses(outputs, targets)
    assert torch.allclose(weighted, plain * torch.tensor([1, 1, 1, 1, 2, 3.5]))
    balanced = choose_task(TrainingConfig(task="auto", class_weights="balanced"), facts).losses(outputs, targets)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=targets.numpy())
    assert torch.allclose(balanced, plain * torch.tensor(expected, dtype=torch.float32)[targets])


def test_weights_that_do_not_fit_are_refused():
    facts = Survey(6, np.zeros(2), np.ones(2), (0, 1, 2), (4, 1, 1))
    with pytest.raises(ConfigError, match=r"class_weights has 2 weights; the training channel has 3 classes"):
        choose_task(TrainingConfig(task="auto", class_weights=[1, 2]), facts)
    with pytest.raises(ConfigError, match=r"class_weights is set, but this is a regression"):
        choose_task(TrainingConfig(task="regression", class_weights="balanced"), facts)


def test_language_modelling_is_measured_by_token():
    task = LanguageModelling(4)
    outputs = torch.zeros(2, 3, 4)
    outputs[0, :, 1] = 100.0
    targets = torch.tensor([[1, 1, 2], [0, 0, 0]])
    assert task.losses(outputs, task.targets(targets)).tolist() == pytest.approx([100 / 3, math.log(4)])
    assert task.scores(outputs, targets).tolist() == pytest.approx([2 / 3, 1])
    assert task.metrics(math.log(4), 0.5) == pytest.approx({"loss": math.log(4), "perplexity": 4, "accuracy": 0.5})
    assert task.metrics(1e9, 0.0)["perplexity"] == math.inf
    empty = torch.empty(0, 3, 4, requires_grad=True)
    assert task.losses(empty, targets[:0]).shape == (0,)
    task.losses(empty, targets[:0]).sum().backward()


def test_squared_error_in_variances_and_rmse_in_units():
    task = choose_task(TrainingConfig(task="regression", normalize=True), looks_like(None, std=2.0))
    outputs, targets = torch.tensor([[5.0], [1.0]]), torch.tensor([1.0, 1.0])
    assert task.losses(outputs, targets).tolist() == [4, 0]
    assert task.scores(outputs, targets).tolist() == [16, 0]
    assert task.metrics(2.0, 9.0) == {"loss": 2.0, "rmse": 3.0}


def test_a_constant_target_and_raw_values_are_not_scaled():
    for task in (Regression(0.0), choose_task(TrainingConfig(task="regression", normalize=False), looks_like(None))):
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
