"""What the labels mean: targets, losses and metrics of classification, regression and language modelling."""

import math
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..contract.artifact import Task as TaskName
from ..errors import ConfigError, DataError
from .config import TrainingConfig
from .piped import PipedSamples
from .samples import Block, Samples
from .survey import Survey, check_finite
from .tally import auc, counts, f1

Weights: TypeAlias = str | list[float]
"""The hyperparameter `class_weights`."""
MAX_CLASSES = 1000
"""Most kinds of whole-numbered labels that `task=auto` takes for classes."""


_MAX_EXPONENT = 700.0


class Task(Protocol):
    """What training asks of a task."""

    name: TaskName
    outputs: int
    """Values that the model gives for each sample."""

    def targets(self, labels: Tensor) -> Tensor:
        """Turn labels `[n, ...]` as they stand in the data into targets of the same shape."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Loss `[n]` of each sample from the model's outputs."""

    def scores(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Score `[n]` of each sample, whose mean `metrics` turns into the metric of the task."""

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        """Sums `[k]` for the metrics that only an evaluation asks for; batches and ranks add up. None: no such."""

    def metrics(self, loss: float, score: float, tally: Tensor | None = None) -> dict[str, float]:
        """Metrics by name from the mean loss, the mean score, and in an evaluation the sums of `tally`."""


class Classification:
    """Labels are classes; loss is the cross-entropy in nats; accuracy, macro F1 and, of two classes, AUC."""

    name: TaskName = "classification"

    def __init__(
        self, classes: tuple[int, ...], weights: Sequence[float] | None = None, names: Sequence[str] = ()
    ) -> None:
        """Take the classes in the order of the model's outputs, the weight of each in the loss, and names by number."""
        self.classes = classes
        self.names: list[int | str] = [names[label] for label in classes] if names else list(classes)
        self.outputs = len(classes)
        self._labels = torch.tensor(classes, dtype=torch.float32)
        self._weights = None if weights is None else torch.tensor(weights, dtype=torch.float32)

    def targets(self, labels: Tensor) -> Tensor:
        """Return the number of each label among the classes."""
        return torch.searchsorted(self._labels, labels)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of each sample in nats, times the weight of its class."""
        if self._weights is not None and self._weights.device != outputs.device:
            self._weights = self._weights.to(outputs.device)
        return functional.cross_entropy(outputs.float(), targets, self._weights, reduction="none")

    def scores(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return 1 for each sample whose most probable class is right."""
        return (outputs.argmax(dim=1) == targets).float()

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        """Return what F1 and AUC need; see `tally.counts`."""
        return counts(outputs, targets)

    def metrics(self, loss: float, score: float, tally: Tensor | None = None) -> dict[str, float]:
        """Return the mean loss and the share of right answers; in an evaluation `f1`, and `auc` of two classes."""
        found = {"loss": loss, "accuracy": score}
        return found if tally is None else found | self._of_counts(tally)

    def _of_counts(self, sums: Tensor) -> dict[str, float]:
        area = auc(sums) if self.outputs == 2 else None
        return {"f1": f1(sums, self.outputs)} | ({} if area is None else {"auc": area})


class Regression:
    """Labels are quantities; loss is the squared error in units of their variance, metrics are RMSE and MAE."""

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

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        """Return the sum of the errors without their signs, and the number of samples."""
        errors = (outputs.float().squeeze(1) - targets).abs().double()
        return torch.stack([errors.sum(), torch.ones_like(errors).sum()])

    def metrics(self, loss: float, score: float, tally: Tensor | None = None) -> dict[str, float]:
        """Return the mean loss and the root of the mean squared error; in an evaluation the mean error, `mae`."""
        found = {"loss": loss, "rmse": score**0.5}
        return found if tally is None else found | {"mae": float(tally[0] / tally[1])}


class LanguageModelling:
    """Labels are the tokens that come next; loss is their cross-entropy in nats; perplexity and accuracy."""

    name: TaskName = "language-modelling"

    def __init__(self, vocabulary: int) -> None:
        """Take the number of tokens."""
        self.outputs = vocabulary

    def targets(self, labels: Tensor) -> Tensor:
        """Return the labels: tokens `[n, t]` are their own numbers."""
        return labels

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return each sample's mean over its tokens, from scores `[n, t, vocabulary]` and tokens `[n, t]`."""
        if not len(outputs):
            return outputs.float().sum(dim=(1, 2))
        return functional.cross_entropy(outputs.float().transpose(1, 2), targets, reduction="none").mean(dim=1)

    def scores(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the share of each sample's tokens that were the most probable ones."""
        return (outputs.argmax(dim=2) == targets).float().mean(dim=1)

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor | None:  # noqa: ARG002
        """Return nothing: the loss says all."""
        return None

    def metrics(self, loss: float, score: float, tally: Tensor | None = None) -> dict[str, float]:  # noqa: ARG002
        """Return the mean loss, its exponential, and the share of right tokens."""
        return {"loss": loss, "perplexity": math.exp(loss) if loss < _MAX_EXPONENT else math.inf, "accuracy": score}


def choose_task(config: TrainingConfig, survey: Survey, names: Sequence[str] = ()) -> Task:
    """Take the task that the hyperparameter names, or the one that the labels look like; `names` are the classes'.

    Raises:
        ConfigError: classification of labels that are no classes, or class weights that do not fit them.
    """
    classes, wanted, weights = survey.classes, config.task, config.class_weights
    if survey.vocabulary:
        return _language_modelling(config, survey.vocabulary)
    if names and wanted == "regression":
        raise ConfigError("task is 'regression', but labels are words. Expected numbers: set 'label' to their field.")
    countable = classes is not None and (bool(names) or len(classes) <= MAX_CLASSES)
    if wanted == "regression" or (wanted == "auto" and not countable):
        if weights != "none":
            raise ConfigError("class_weights is set, but this is a regression. Leave it out, or set 'task'.")
        return Regression(float(survey.std[0]) if config.normalize else 1.0)
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
    return Classification(classes, _class_weights(weights, survey), names)


def _language_modelling(config: TrainingConfig, found: int) -> Task:
    if config.task not in ("auto", "language-modelling"):
        raise ConfigError(f"task is {config.task!r}, but 'gpt' models language. Leave 'task' out, or change 'model'.")
    if 0 < config.vocabulary < found:
        raise ConfigError(
            f"vocabulary is {config.vocabulary}, but the training channel has the token {found - 1}. Expected at least "
            f"{found}: change 'vocabulary', or leave it out."
        )
    return LanguageModelling(config.vocabulary or found)


def _class_weights(wanted: Weights, survey: Survey) -> list[float] | None:
    """Weight of each class in the loss; balanced ones are as scikit-learn has them, and 1 on average over samples."""
    if wanted == "none":
        return None
    sizes = survey.counts
    if isinstance(wanted, str):
        return [survey.samples / (len(sizes) * size) for size in sizes]
    if len(wanted) != len(sizes):
        raise ConfigError(
            f"class_weights has {len(wanted)} weights; the training channel has {len(sizes)} classes "
            f"({_shortened(survey.classes or ())}). Expected one for each, in this order: change 'class_weights'."
        )
    return wanted


def check_validation(validation: Samples | PipedSamples, task: Task) -> None:
    """Look for samples that cannot be measured, before hours of training end in them; each rank takes its share.

    Raises:
        DataError: a value that is not finite, or a label that training did not have.
    """
    for block in validation.blocks():
        if isinstance(task, LanguageModelling):
            _check_tokens(block, validation, task)
            continue
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


def _check_tokens(block: Block, validation: Samples | PipedSamples, task: Task) -> None:
    unknown = np.flatnonzero(((block.rows < 0) | (block.rows >= task.outputs)).any(axis=1))
    if len(unknown):
        row = int(unknown[0])
        token = next(int(token) for token in block.rows[row] if not 0 <= token < task.outputs)
        raise DataError(
            f"{validation.place(int(block.sample_ids[row]))}: token {token} is not among the {task.outputs} of the "
            f"training channel. Expected tokens that training knows: set 'vocabulary' to their number."
        )


def _shortened(classes: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, classes[:10]))
    return shown if len(classes) <= 10 else f"{shown}, ... {classes[-1]}"


def named(prefix: str, metrics: Mapping[str, float]) -> dict[str, float]:
    """Put the name of a channel before each metric: `validation:loss`."""
    return {f"{prefix}:{name}": value for name, value in metrics.items()}
