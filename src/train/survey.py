"""One pass over the training data before training: means, deviations, and what the labels are."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import DataError
from ..formats.rows import first_not_finite
from .piped import PipedSamples
from .ranks import Ranks
from .samples import Block, Samples

_IMAGES_LOOKED_AT = 4096
MAX_LABEL = 100_000
"""Highest whole-numbered label that is counted; above it labels are taken for quantities."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What the training data looks like."""

    samples: int
    mean: NDArray[np.float64]
    """Mean of each column `[1 + features]`, the label first."""
    std: NDArray[np.float64]
    """Standard deviation (of the population) of each column `[1 + features]`."""
    classes: tuple[int, ...] | None
    """All labels in order if they are whole numbers from 0 to `MAX_LABEL`, else None."""
    counts: tuple[int, ...] = ()
    """Samples of each class; empty without classes."""
    vocabulary: int = 0
    """The highest token, plus 1; 0 where there are none."""


def survey(samples: Samples | PipedSamples, ranks: Ranks) -> Survey:
    """Look at every sample once; each rank takes its share, in blocks.

    Of images in folders, whose labels are known, only some are decoded: enough for the mean of a colour.

    Raises:
        DataError: a value that is not finite.
    """
    if samples.fields.takes == "tokens":
        return _survey_tokens(samples, ranks)
    columns = 1 + samples.features
    # Sums of squares around a value near the mean do not cancel; the first sample is such a value for every rank.
    origin = samples.first.astype(np.float64)
    sums = np.zeros((3, columns))
    seen, whole = np.zeros(0, dtype=np.int64), True
    labels = None if isinstance(samples, PipedSamples) else samples.labels
    if labels is not None and not isinstance(samples, PipedSamples):
        if samples.split.rank == 0:
            seen = np.bincount(labels)
        blocks = samples.some(_IMAGES_LOOKED_AT)
    else:
        blocks = samples.blocks()
    for block in blocks:
        check_finite(block, samples)
        moved = block.rows - origin
        sums += [moved.sum(axis=0), np.square(moved).sum(axis=0), np.full(columns, len(moved))]
        if labels is None:
            seen, whole = _count(block.rows[:, 0], seen, whole=whole)
    totals = ranks.sum(torch.from_numpy(sums).to(ranks.device)).cpu().numpy()
    mean = totals[0] / totals[2]
    variance = np.maximum(totals[1] / totals[2] - np.square(mean), 0.0)
    classes, counts = _all_classes(seen, whole, ranks)
    total = int(totals[2, 0]) if labels is None else sum(counts)
    return Survey(total, mean + origin, np.sqrt(variance), classes, counts)


def _count(labels: NDArray[np.float32], seen: NDArray[np.int64], *, whole: bool) -> tuple[NDArray[np.int64], bool]:
    """Add labels to the counts, as long as all are whole numbers that may be classes."""
    whole = whole and bool(((labels >= 0) & (labels <= MAX_LABEL) & (labels == np.floor(labels))).all())
    if not whole:
        return seen, False
    counts = np.bincount(labels.astype(np.int64), minlength=len(seen))
    counts[: len(seen)] += seen
    return counts, True


def _survey_tokens(samples: Samples | PipedSamples, ranks: Ranks) -> Survey:
    """Find the highest token, so that the model knows all; each rank takes its share."""
    highest = torch.zeros(ranks.world, dtype=torch.int64, device=ranks.device)
    for block in samples.blocks():
        if block.rows.size and block.rows.min() < 0:
            row = int((block.rows < 0).any(axis=1).argmax())
            raise DataError(
                f"{samples.place(int(block.sample_ids[row]))}: token {int(block.rows[row].min())} is negative. "
                f"Expected tokens from 0 up."
            )
        highest[ranks.rank] = max(int(block.rows.max(initial=0)), int(highest[ranks.rank]))
    none = np.zeros(0)
    return Survey(samples.samples, none, none, None, (), int(ranks.sum(highest).max()) + 1)


def _all_classes(seen: NDArray[np.int64], whole: bool, ranks: Ranks) -> tuple[tuple[int, ...] | None, tuple[int, ...]]:
    """Unite the labels that each rank has seen: all of them, and how often each occurs."""
    if ranks.any(not whole):
        return None, ()
    counts = torch.zeros(MAX_LABEL + 1, dtype=torch.int64, device=ranks.device)
    counts[: len(seen)] = torch.from_numpy(seen)
    totals = ranks.sum(counts)
    labels = totals.nonzero().flatten()
    return tuple(labels.tolist()), tuple(totals[labels].tolist())


def check_finite(block: Block, samples: Samples | PipedSamples) -> None:
    """Refuse values that no mean and no loss can hold.

    Raises:
        DataError: names file, row and column of the first.
    """
    place = first_not_finite(block.rows)
    if place is not None:
        row, column = place
        raise DataError(
            f"{samples.place(int(block.sample_ids[row]))}: "
            f"{'the label (column 1)' if column == 0 else f'feature {column} (column {column + 1})'} is "
            f"{block.rows[place]} as float32. Expected finite numbers: fill in or drop such records."
        )
