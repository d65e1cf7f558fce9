import torch
from twofold.models.dense import linear, mlp


def shapes(module):
    return [tuple(part.weight.shape) for part in module.modules() if isinstance(part, torch.nn.Linear)]


def test_linear_is_one_affine_map():
    module = linear(features=3, outputs=2)
    assert shapes(module) == [(2, 3)]
    rows = torch.randn(5, 3)
    assert torch.allclose(
        module(rows + 1) - module(rows), module(torch.ones(1, 3)) - module(torch.zeros(1, 3)), atol=1e-5
    )


def test_mlp_has_a_layer_for_each_width():
    assert shapes(mlp(features=3, outputs=2, hidden=[5, 4])) == [(5, 3), (4, 5), (2, 4)]
    assert shapes(mlp(features=3, outputs=2, hidden=[])) == [(2, 3)]


def test_dropout_drops_in_training_only():
    module = mlp(features=4, outputs=3, hidden=[64], dropout=0.5)
    rows = torch.randn(2, 4)
    assert not torch.equal(module(rows), module(rows))
    module.eval()
    assert torch.equal(module(rows), module(rows))


def test_restore_gives_answers_in_the_units_of_the_target():
    for module in (linear(features=2, outputs=1, restore=True), mlp(features=2, outputs=1, hidden=[3], restore=True)):
        rows = torch.randn(4, 2)
        before = module(rows)
        module[-1].fit(100.0, 10.0)
        assert torch.allclose(module(rows), before * 10 + 100)


def test_no_rows_give_no_answers():
    assert mlp(features=3, outputs=2, hidden=[4])(torch.empty(0, 3)).shape == (0, 2)
