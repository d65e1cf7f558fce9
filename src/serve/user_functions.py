"""The functions of a user's `inference.py`, found and checked as `sagemaker-inference` finds them.

Source: https://github.com/aws/sagemaker-inference-toolkit, src/sagemaker_inference/transformer.py
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from ..contract.artifact import CODE
from ..errors import ModelError
from ..models.user_code import import_file
from .context import Context

DEFAULT_PROGRAM = "inference.py"

Function: TypeAlias = Callable[..., Any]

ARGUMENTS = {
    "pre_model_fn": 1,
    "model_fn": 1,
    "model_warmup_fn": 2,
    "transform_fn": 4,
    "input_fn": 2,
    "predict_fn": 2,
    "batch_predict_fn": 2,
    "output_fn": 2,
    "bidirectional_fn": 2,
    "chat_fn": 2,
}
"""Each function that a user may define, and its arguments without the context."""


@dataclass(frozen=True, slots=True)
class UserFunctions:
    """What a file defines; None where it leaves a part to the defaults."""

    file: str
    pre_model_fn: Function | None
    model_fn: Function | None
    model_warmup_fn: Function | None
    transform_fn: Function | None
    input_fn: Function | None
    predict_fn: Function | None
    batch_predict_fn: Function | None
    output_fn: Function | None
    bidirectional_fn: Function | None
    chat_fn: Function | None


def program_path(folder: Path, program: str | None) -> Path | None:
    """Return the user's script in a model folder; None where there is none and none is asked for.

    Raises:
        ModelError: the one that is asked for is missing, or outside of the code folder.
    """
    code = folder / CODE
    name = program or DEFAULT_PROGRAM
    path = code / (name if name.endswith(".py") else f"{name}.py")
    if path.resolve().is_relative_to(code.resolve()) and path.is_file():
        return path
    if program is None or program == DEFAULT_PROGRAM:
        return None
    found = ", ".join(sorted(entry.name for entry in code.glob("*.py"))[:10]) if code.is_dir() else ""
    raise ModelError(
        f"SAGEMAKER_PROGRAM is {program!r}, but there is no such file in {code} (Python files there: "
        f"{found or 'none'}). Put it into the model archive as code/{name}, or correct SAGEMAKER_PROGRAM."
    )


def find_functions(path: Path) -> UserFunctions:
    """Import a script and take its functions.

    Raises:
        ModelError: it fails when it is imported, or its functions do not go together or cannot be called as they are.
    """
    module = import_file(path)
    found = {name: _function(module, name, path.name) for name in ARGUMENTS}
    parts = [name for name in ("input_fn", "predict_fn", "batch_predict_fn", "output_fn") if found[name]]
    if found["transform_fn"] and parts:
        raise ModelError(
            f"{path.name} defines transform_fn together with {', '.join(parts)}. Expected either transform_fn or the "
            f"others: remove one."
        )
    if found["predict_fn"] and found["batch_predict_fn"]:
        raise ModelError(
            f"{path.name} defines predict_fn and batch_predict_fn. Expected one of them: remove the other."
        )
    return UserFunctions(path.name, **found)


def _function(module: ModuleType, name: str, file: str) -> Function | None:
    function = getattr(module, name, None)
    if function is None:
        return None
    expected = ARGUMENTS[name]
    if not callable(function) or _parameters(function) not in (expected, expected + 1):
        takes = f"takes {_parameters(function)} arguments" if callable(function) else "is no function"
        raise ModelError(
            f"{name} of {file} {takes}. Expected a function of {expected}, or of {expected + 1} with the context last: "
            f"correct it."
        )
    return function  # type: ignore[no-any-return]  # callable, as was seen


def call(function: Function, arguments: tuple[Any, ...], context: Context) -> Any:  # noqa: ANN401 - the user's
    """Call a user's function, with the context if it takes one more argument."""
    if _parameters(function) == len(arguments) + 1:
        arguments = (*arguments, context)
    return function(*arguments)


def _parameters(function: Function) -> int:
    return len(inspect.signature(function).parameters)
