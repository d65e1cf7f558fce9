"""What a model is worth on held-out data: a transform job answers the rows, the answers are held against the labels.

The candidate and the model in production answer the very same rows, so that their numbers may be compared, whatever
data each was trained and validated on.
"""

import csv
import math
from collections.abc import Iterable, Sequence

from ..contract.artifact import MANIFEST, Manifest
from ..errors import DataError, ModelError
from . import models, results, transforms
from .aws import Document
from .progress import demand, wait
from .project import Project
from .resources import TRANSFORM

LABEL_APART = {"InputFilter": "$[1:]", "JoinSource": "Input"}
"""The label, which comes first, is not sent; the whole row comes back in front of its answer."""
LEAST = 1e-15
"""Least probability that the loss reckons with: one answer that is quite wrong must not make it infinite."""


def score(project: Project, container: Document, place: str, *, again: bool) -> dict[str, float]:
    """Metrics of a model on held-out data; none in a dry run.

    Args:
        project: the project.
        container: the model, as `CreateModel` takes it.
        place: URI of CSV without a header line, the label first.
        again: whether the data may have changed under its name, so that earlier answers do not count.

    Raises:
        ModelError: the model does not say what its answers mean.
        DataError: there are no answers, or they do not fit the model.
    """
    name, answers = transforms.start(project, container, place, again=again, processing=LABEL_APART)
    demand(TRANSFORM, wait(project, TRANSFORM, name), "Completed")
    if project.aws.dry:
        return {}
    archive = models.archive(project, container)
    manifest = results.manifest(project, archive)
    if manifest is None:
        raise ModelError(
            f"{archive} has no {MANIFEST}, so what its answers mean is not known. Expected a model that `train` wrote: "
            f"empty gate.data to compare what the jobs said themselves."
        )
    texts = [project.storage.read(uri).decode() for uri in project.storage.below(answers)]
    return measured(list(csv.reader(line for text in texts for line in text.splitlines() if line)), manifest)


def measured(rows: Sequence[Sequence[str]], manifest: Manifest) -> dict[str, float]:
    """Metrics of rows of label, features and answer.

    Returns:
        `held-out:accuracy` and `held-out:loss` (cross-entropy in nats) of a classification; `held-out:rmse`,
        `held-out:mae` and `held-out:loss` (mean squared error) of a regression.

    Raises:
        DataError: there are none, or one of them does not fit the model.
        ModelError: it is a language model, whose data has no labels.
    """
    if not rows:
        raise DataError("gate.data has no rows. Expected lines of CSV without a header line, the label first.")
    if manifest.task == "regression":
        errors = [_numbers(row[-1:])[0] - _numbers(row[:1])[0] for row in rows]
        squares = _mean(error * error for error in errors)
        return {"held-out:rmse": math.sqrt(squares), "held-out:mae": _mean(map(abs, errors)), "held-out:loss": squares}
    if manifest.classes is None:
        raise ModelError("A language model has no labels. Expected a classification or a regression: empty gate.data.")
    places = {_label(str(name)): place for place, name in enumerate(manifest.classes)}
    hits, losses = [], []
    for row in rows:
        answer, place = _numbers(row[-len(places) :]), places.get(_label(row[0]))
        # A class that this model has never seen is answered wrong.
        hits.append(float(place is not None and answer[place] == max(answer)))
        losses.append(-math.log(max(LEAST, answer[place] if place is not None else 0.0)))
    return {"held-out:accuracy": _mean(hits), "held-out:loss": _mean(losses)}


def _numbers(texts: Sequence[str]) -> list[float]:
    try:
        return [float(text) for text in texts]
    except ValueError as error:
        raise DataError(
            f"A row of gate.data or its answer has {error.args[0].rpartition(': ')[2]}, expected a number. gate.data "
            f"must be CSV without a header line, the label first, then the features of the model."
        ) from error


def _label(text: str) -> str | float:
    """A label as it is compared: the 3 of a class is the 3.0 of a table."""
    try:
        return float(text)
    except ValueError:
        return text


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return math.fsum(found) / len(found)
