import torch
from twofold.models.standardize import Restore, Standardize


def test_fitted_rows_have_mean_0_and_deviation_1():
    rows = torch.randn(1000, 3) * torch.tensor([1.0, 10.0, 0.1]) + torch.tensor([0.0, 5.0, -1.0])
    part = Standardize(3)
    assert torch.equal(part(rows), rows)
    part.fit(rows.mean(dim=0), rows.std(dim=0, unbiased=False))
    assert torch.allclose(part(rows).mean(dim=0), torch.zeros(3), atol=1e-5)
    assert torch.allclose(part(rows).std(dim=0, unbiased=False), torch.ones(3), atol=1e-5)


def test_a_constant_feature_is_only_shifted():
    part = Standardize(2)
    part.fit(torch.tensor([7.0, 0.0]), torch.tensor([0.0, 1.0]))
    assert part(torch.tensor([[7.0, 2.0], [8.0, 2.0]])).tolist() == [[0, 2], [1, 2]]


def test_restore_is_the_inverse_and_takes_a_constant_target():
    part = Restore(1)
    part.fit(3.0, 2.0)
    assert part(torch.tensor([[0.5]])).item() == 4
    part.fit(3.0, 0.0)
    assert part(torch.tensor([[0.5]])).item() == 3.5


def test_statistics_travel_with_the_weights_and_are_not_trained():
    part = Standardize(2)
    assert list(part.state_dict()) == ["mean", "scale"]
    assert not list(part.parameters())
