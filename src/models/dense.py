"""Models of rows of numbers: `linear` and `mlp`."""

from collections.abc import Sequence

from torch import nn

from .standardize import Standardize


def linear(*, features: int, outputs: int) -> nn.Module:
    """One affine map from `[n, features]` to `[n, outputs]`: linear or logistic regression, by the loss."""
    return nn.Sequential(Standardize(features), nn.Linear(features, outputs))


def mlp(*, features: int, outputs: int, hidden: Sequence[int], dropout: float = 0.0) -> nn.Module:
    """Map `[n, features]` to `[n, outputs]` through one ReLU layer for each width in `hidden`."""
    layers: list[nn.Module] = [Standardize(features)]
    width = features
    for next_width in hidden:
        layers += [nn.Linear(width, next_width), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
        width = next_width
    layers.append(nn.Linear(width, outputs))
    return nn.Sequential(*layers)
