"""Twofold: one container image that trains and serves PyTorch models on Amazon SageMaker and on a laptop.

For scripts of your own, from any folder of records to batches that resume where they stopped, on any number of ranks:

    from twofold import StreamingDataset, StreamingLoader

And from an artifact to the module that `train` has trained:

    from twofold import load_model
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "StreamingDataset": "stream.streaming_dataset",
    "StreamingLoader": "stream.loader",
    "load_model": "models.load",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - classes of several modules
    """Import what brings torch only when a script asks for it: the verbs start without."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
