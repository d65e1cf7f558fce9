import pytest
import torch
from twofold.errors import ModelError
from twofold.models.table import build


def test_a_manifest_names_a_module():
    module = build("mlp", {"features": 2, "outputs": 3, "hidden": [4]})
    assert module(torch.zeros(1, 2)).shape == (1, 3)


def test_an_unknown_model_is_refused_with_the_known_ones():
    with pytest.raises(ModelError, match=r"Unknown model 'forest'. Expected one of: gpt, linear, mlp, resnet"):
        build("forest", {})


@pytest.mark.parametrize("arguments", [{}, {"features": 2, "outputs": 1, "depth": 3}])
def test_arguments_that_do_not_fit_are_named(arguments):
    with pytest.raises(ModelError, match="Model 'linear' does not take the arguments"):
        build("linear", arguments)
