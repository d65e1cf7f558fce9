"""Files of the user's own, imported under names of their own; knows nothing of torch.

A file may import others beside it. Their folder is searched last, so that a file called `torch.py` there hides nothing.
"""

import importlib.util
import sys
from hashlib import sha256
from pathlib import Path
from types import ModuleType

from ..errors import ModelError


def import_file(path: Path) -> ModuleType:
    """Import a file under a name of its own, so that two models may both have a `model.py`.

    Raises:
        ModelError: it is no Python file, or fails when it is imported.
    """
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
