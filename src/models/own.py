"""Models of the user's own: a function in a file of theirs that returns a module."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import ModelError
from .user_code import import_file


def load_function(folder: Path, file: str, function: str) -> Callable[..., nn.Module]:
    """Import a file below a folder and return its function.

    Raises:
        ModelError: no such file or function, or the file fails when it is imported.
    """
    path = (folder / file).resolve()
    if not path.is_relative_to(folder.resolve()) or path.suffix != ".py" or not path.is_file():
        found = ", ".join(sorted(entry.name for entry in folder.glob("*.py"))[:10]) if folder.is_dir() else ""
        raise ModelError(
            f"No file {file!r} in the code folder {folder} (Python files there: {found or 'none'}). Expected the file "
            f"that 'model' names: put it there, or correct 'model' ('file:function')."
        )
    made: Callable[..., nn.Module] | None = getattr(import_file(path), function, None)
    if not callable(made):
        raise ModelError(
            f"{file} has no function {function!r}. Expected one that returns an nn.Module: define it there, or correct "
            f"'model' ('{file}:function')."
        )
    return made


def build_own(folder: Path, file: str, function: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Call a user's function and return its module, with fresh weights.

    Raises:
        ModelError: it cannot be found or called with these arguments, fails, or returns something else.
    """
    made = load_function(folder, file, function)
    try:
        module = made(**arguments)
    except Exception as error:
        raise ModelError(
            f"{file}:{function} failed with the arguments {dict(arguments)!r}: {type(error).__name__}: {error}. "
            f"Correct the function, or 'model_arguments'."
        ) from error
    if not isinstance(module, nn.Module):
        raise ModelError(
            f"{file}:{function} returned {type(module).__name__}. Expected an nn.Module: return the model."
        )
    return module


def accepted(function: Callable[..., nn.Module], offered: Mapping[str, Any]) -> dict[str, Any]:
    """Keep those of the offered arguments that a function names among its parameters."""
    return {name: value for name, value in offered.items() if name in inspect.signature(function).parameters}
