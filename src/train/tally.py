"""Metrics of a whole channel from sums: counts that ranks add up, from which F1 and AUC follow.

AUC comes from a histogram of scores, so it needs no sample twice and no memory for each. Pairs of a positive and a
negative sample in one bin count as half, as ties do: the error is at most half of the share of such pairs. Bins are
1/320 wide in asinh of the difference of the two scores (log-odds): so fine around even odds, and 1/320 of the log-odds
further out, up to 180,000.
"""

import torch
from torch import Tensor

_BINS = 8192
_BINS_EACH = 320
"""Bins of one unit of asinh of the log-odds."""


def counts(outputs: Tensor, targets: Tensor) -> Tensor:
    """Count what F1 and AUC need, from outputs `[n, c]` and classes `[n]`: `[3 * c]`, and `[2 * 8192]` more for c = 2.

    Right answers, answers and samples of each class; for two classes the histograms of negative and positive samples.
    """
    kinds = outputs.shape[1]
    answers = outputs.argmax(dim=1)
    found = [targets[answers == targets], answers, targets]
    parts = [torch.bincount(each, minlength=kinds) for each in found]
    if kinds == 2:
        odds = (outputs[:, 1] - outputs[:, 0]).float().nan_to_num()
        bins = (odds.asinh() * _BINS_EACH + _BINS / 2).floor().long().clamp(0, _BINS - 1)
        parts.append(torch.bincount(bins + targets * _BINS, minlength=2 * _BINS))
    return torch.cat(parts).double()


def f1(sums: Tensor, kinds: int) -> float:
    """Macro F1: the mean over all classes that occur among samples or answers, as scikit-learn has it."""
    right, answered, actual = sums[: 3 * kinds].reshape(3, kinds)
    occurring = (answered + actual) > 0
    return float((2 * right[occurring] / (answered + actual)[occurring]).mean())


def auc(sums: Tensor) -> float | None:
    """Area under the ROC curve of two classes; None where one of them does not occur."""
    negative, positive = sums[6:].reshape(2, _BINS)
    pairs = negative.sum() * positive.sum()
    if not pairs:
        return None
    below = negative.cumsum(dim=0) - negative
    return float((positive * (below + negative / 2)).sum() / pairs)
