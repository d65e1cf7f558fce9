import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, roc_auc_score
from twofold.train.tally import auc, counts, f1


def answers(kinds, count=2000, seed=0):
    """Return scores that tell the class a little, and the classes."""
    random = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, kinds, (count,), generator=random)
    outputs = torch.randn(count, kinds, generator=random) * 2
    outputs[torch.arange(count), targets] += 1.5
    return outputs, targets


@pytest.mark.parametrize("kinds", [2, 3, 10])
def test_f1_is_scikit_learns_however_samples_are_shared_out(kinds):
    outputs, targets = answers(kinds)
    sums = sum(counts(*part) for part in zip(outputs.split(77), targets.split(77), strict=True))
    assert torch.equal(sums, counts(outputs, targets))
    assert f1(sums, kinds) == pytest.approx(f1_score(targets, outputs.argmax(dim=1), average="macro"), abs=1e-12)


def test_f1_leaves_out_classes_that_occur_nowhere():
    outputs, targets = torch.eye(4)[[0, 1, 1]], torch.tensor([0, 1, 0])
    assert f1(counts(outputs, targets), 4) == pytest.approx(f1_score(targets, [0, 1, 1], average="macro"))


@pytest.mark.parametrize("scale", [0.1, 1, 5])
def test_auc_is_scikit_learns_within_its_stated_error(scale):
    outputs, targets = answers(2)
    outputs *= scale
    odds = outputs[:, 1] - outputs[:, 0]
    bins = torch.floor(odds.asinh() * 320)
    together = (bins[targets == 1][:, None] == bins[targets == 0]).double().mean().item()
    error = abs(auc(counts(outputs, targets)) - roc_auc_score(targets, odds))
    assert error <= together / 2 + 1e-12
    assert error < 1e-3


def test_auc_of_ties_certainties_and_single_classes():
    equal = torch.zeros(4, 2)
    assert auc(counts(equal, torch.tensor([0, 1, 0, 1]))) == 0.5
    sure = torch.tensor([[100.0, -100.0], [-100.0, 100.0]])
    assert auc(counts(sure, torch.tensor([0, 1]))) == 1.0
    assert auc(counts(sure, torch.tensor([1, 1]))) is None
    assert np.isfinite(auc(counts(torch.full((2, 2), torch.nan), torch.tensor([0, 1]))))


def test_no_samples_count_nothing():
    assert counts(torch.empty(0, 3), torch.empty(0, dtype=torch.int64)).tolist() == [0] * 9
