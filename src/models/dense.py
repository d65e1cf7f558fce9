"""Models of rows of numbers: `linear` and `mlp`."""

from collections.abc import Sequence

from torch import nn

from .standardize import Restore, Standardize


def linear(*, features: int, outputs: int, restore: bool = False) -> nn.Module:
    """One affine map from `[n, features]` to `[n, outputs]`: linear or logistic regression, by the loss.

    With `restore` the outputs leave in the units of the target, as the regression's `Restore` has learned them.
    """
    return nn.Sequential(Standardize(features), nn.Linear(features, outputs), *_tail(outputs, restore=restore))


def mlp(
    *, features: int, outputs: int, hidden: Sequence[int], dropout: float = 0.0, restore: bool = False
) -> nn.Module:
    """Map `[n, features]` to `[n, outputs]` by a ReLU layer for each width in `hidden`; `restore` as in `linear`."""
    layers: list[nn.Module] = [Standardize(features)]
    width = features
    for next_width in hidden:
        layers += [nn.Linear(width, next_width), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
        width = next_width
    return nn.Sequential(*layers, nn.Linear(width, outputs), *_tail(outputs, restore=restore))


def _tail(outputs: int, *, restore: bool) -> list[nn.Module]:
    return [Restore(outputs)] if restore else []
