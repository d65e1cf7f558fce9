"""What computes predictions: one small protocol for both engines, and the settings that choose between them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError

EngineName = Literal["auto", "onnx", "pytorch"]
Precision = Literal["fp32", "bf16"]

Predictions: TypeAlias = NDArray[np.float32]
"""`[rows, classes]` of probabilities (classification), `[rows, vocabulary]` of the next token's (language modelling),
or `[rows]` (regression)."""

_FLAGS = {"true": True, "1": True, "false": False, "0": False}


class Engine(Protocol):
    """A model that is ready to answer. Made before the workers are forked; one call at a time in each of them."""

    name: str
    """What it is, for the log: `ONNX Runtime` or `PyTorch`."""

    def run(self, rows: NDArray[Any]) -> Predictions:
        """Answer rows `[n, *row_shape]` of any numeric type; the engine casts them to what its model takes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How an artifact is to be computed."""

    engine: EngineName = "auto"
    """`onnx`, `pytorch`, or ONNX Runtime where the artifact has a verified program (`TWOFOLD_ENGINE`)."""
    device: str = "auto"
    """Device of PyTorch, e.g. `cpu` or `cuda:0`; `auto` is the first GPU if there is one (`TWOFOLD_DEVICE`)."""
    precision: Precision = "fp32"
    """Type that PyTorch computes in; answers are float32 in any case (`TWOFOLD_PRECISION`)."""
    compile: bool = False
    """Whether PyTorch compiles the model first; needs a C++ compiler (`TWOFOLD_COMPILE`)."""

    @property
    def needs_pytorch(self) -> bool:
        """Whether something is asked for that only PyTorch does."""
        return self.device != "auto" or self.precision != "fp32" or self.compile


def read_engine_settings(environ: Mapping[str, str]) -> EngineSettings:
    """Read the settings; an empty variable counts as not set.

    Raises:
        ConfigError: a variable has a value that it cannot have, or contradicts another.
    """
    settings = EngineSettings(
        engine=_word(environ, "TWOFOLD_ENGINE", get_args(EngineName), "auto"),
        device=environ.get("TWOFOLD_DEVICE", "").strip() or "auto",
        precision=_word(environ, "TWOFOLD_PRECISION", get_args(Precision), "fp32"),
        compile=_FLAGS[_word(environ, "TWOFOLD_COMPILE", tuple(_FLAGS), "false")],
    )
    if settings.engine == "onnx" and settings.needs_pytorch:
        raise ConfigError(
            "TWOFOLD_ENGINE is 'onnx' together with TWOFOLD_DEVICE, TWOFOLD_PRECISION or TWOFOLD_COMPILE. Expected "
            "these only for PyTorch: leave them out, or set TWOFOLD_ENGINE to 'pytorch'."
        )
    return settings


def _word(environ: Mapping[str, str], name: str, words: tuple[str, ...], default: str) -> Any:  # noqa: ANN401 - a Literal
    word = environ.get(name, "").strip().lower() or default
    if word not in words:
        raise ConfigError(
            f"The environment variable {name} is {environ[name]!r}. Expected one of: {', '.join(words)}. Correct it in "
            f"the model's Environment, or leave it out."
        )
    return word
