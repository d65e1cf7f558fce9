"""Models of the user's own: a function in a file of theirs that returns a module.

The function's file may import others beside it. Their folder is searched last, so that a file called `torch.py` there
hides nothing.
"""

import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import ModelError


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
    made: Callable[..., nn.Module] | None = getattr(_import(path), function, None)
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


def _import(path: Path) -> Any:  # noqa: ANN401 - a module has whatever its file defines
    """Import a file under a name of its own, so that two models may both have a `model.py`."""
    name = f"twofold_own_{sha256(str(path).encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelError(f"{path} cannot be imported. Expected a Python file.")
    module = importlib.util.module_from_spec(spec)
    # Data classes and the like look their module up by its name while it is being imported.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ModelError(f"{path.name} failed when it was imported: {type(error).__name__}: {error}.") from error
    return module
