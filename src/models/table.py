"""The one table of built-in models, from the name in a manifest to the module."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from ..errors import ModelError
from .dense import linear, mlp
from .gpt import gpt
from .resnet import resnet

ARCHITECTURES: Mapping[str, Callable[..., nn.Module]] = {
    "linear": linear,
    "mlp": mlp,
    "resnet": resnet,
    "gpt": gpt,
}


def build(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Build the module that a manifest names, with fresh weights.

    Raises:
        ModelError: no such architecture, or arguments that it does not take.
    """
    factory = ARCHITECTURES.get(name)
    if factory is None:
        raise ModelError(f"Unknown model {name!r}. Expected one of: {', '.join(sorted(ARCHITECTURES))}.")
    try:
        return factory(**arguments)
    except TypeError as error:
        raise ModelError(f"Model {name!r} does not take the arguments {dict(arguments)!r}: {error}.") from error
