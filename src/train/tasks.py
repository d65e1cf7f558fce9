"""What the labels mean: targets, losses and metrics of classification and regression."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..contract.artifact import Task as TaskName
from ..errors import ConfigError, DataError
from .piped import PipedSamples
from .samples import Samples
from .survey import Survey, check_finite

MAX_CLASSES = 1000
"""Most kinds of whole-numbered labels that `task=auto` takes for classes."""


class Task(Protocol):
    """What training asks of a task."""

    name: TaskName
    outputs: int
    """Values that the model gives for each sample."""

    def targets(self, labels: Tensor) -> Tensor:
        """Turn labels `[n]` as they stand in the data into targets `[n]`."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Loss `[n]` of each sample from outputs `[n, outputs]`."""

    def scores(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Score `[n]` of each sample, whose mean `metrics` turns into the metric of the task."""

    def metrics(self, loss: float, score: float) -> dict[str, float]:
        """Metrics by name from the mean loss and the mean score."""


class Classification:
    """Labels are classes; loss is the cross-entropy in nats, the metric is accuracy."""

    name: TaskName = "classification"

    def __init__(self, classes: tuple[int, ...]) -> None:
        """Take the classes in the order of the model's outputs."""
        self.classes = classes
        self.outputs = len(classes)
        self._labels = torch.tensor(classes, dtype=torch.float32)

    def targets(self, labels: Tensor) -> Tensor:
        """Return the number of each label among the classes."""
        return torch.searchsorted(self._labels, labels)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of each sample in nats."""
        return functional.cross_entropy(outputs.float(), targets, reduction="none")

    def scores(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return 1 for each sample whose most probable class is right."""
        return (outputs.argmax(dim=1) == targets).float()

    def metrics(self, loss: float, score: float) -> dict[str, float]:
        """Return the mean loss and the share of right answers."""
        return {"loss": loss, "accuracy": score}


class Regression:
    """Labels are quantities; loss is the squared error in units of their variance, the metric is RMSE in their own."""

    name: TaskName = "regression"
    outputs = 1

    def __init__(self, scale: float) -> None:
        """Take the standard deviation of the target, by which errors are divided in the loss."""
        self._scale = scale if scale > 0 else 1.0

    def targets(self, labels: Tensor) -> Tensor:
        """Return the labels: they are the targets."""
        return labels

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the squared error of each sample over the variance of the target."""
        return ((outputs.float().squeeze(1) - targets) / self._scale).square()

    def scores(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the squared error of each sample."""
        return (outputs.float().squeeze(1) - targets).square()

    def metrics(self, loss: float, score: float) -> dict[str, float]:
        """Return the mean loss and the root of the mean squared error."""
        return {"loss": loss, "rmse": score**0.5}


def choose_task(wanted: str, survey: Survey, *, normalize: bool) -> Classification | Regression:
    """Take the task that the hyperparameter names, or the one that the labels look like.

    Raises:
        ConfigError: classification of labels that are no classes.
    """
    classes = survey.classes
    countable = classes is not None and len(classes) <= MAX_CLASSES
    if wanted == "regression" or (wanted == "auto" and not countable):
        return Regression(float(survey.std[0]) if normalize else 1.0)
    if classes is None:
        raise ConfigError(
            "task is 'classification', but the labels (first column) are not all whole numbers from 0 up. Number the "
            "classes, check that the label comes first, or set 'task' to 'regression'."
        )
    if len(classes) < 2:
        raise DataError(
            f"Every label (first column) of the training channel is {_shortened(classes)}. Expected at least two "
            f"classes: check that the label comes first, or set 'task' to 'regression'."
        )
    return Classification(classes)


def check_validation(validation: Samples | PipedSamples, task: Task) -> None:
    """Look for samples that cannot be measured, before hours of training end in them; each rank takes its share.

    Raises:
        DataError: a value that is not finite, or a label that training did not have.
    """
    for block in validation.blocks():
        check_finite(block, validation)
        if not isinstance(task, Classification):
            continue
        unknown = np.flatnonzero(~np.isin(block.rows[:, 0], task.classes))
        if len(unknown):
            row = int(unknown[0])
            raise DataError(
                f"{validation.place(int(block.sample_ids[row]))}: label {block.rows[row, 0]:g} is not among "
                f"the {task.outputs} classes of the training channel ({_shortened(task.classes)}). Expected every "
                f"validation label to occur in training too: add such samples there, or drop these."
            )


def _shortened(classes: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, classes[:10]))
    return shown if len(classes) <= 10 else f"{shown}, ... {classes[-1]}"


def named(prefix: str, metrics: Mapping[str, float]) -> dict[str, float]:
    """Put the name of a channel before each metric: `validation:loss`."""
    return {f"{prefix}:{name}": value for name, value in metrics.items()}
