"""From a model folder to the service that answers for it: a user's script if there is one, else the artifact itself."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from ..contract.artifact import CODE, MANIFEST, Manifest
from ..contract.endpoint import Endpoint
from ..contract.machine import gpu_here
from ..errors import ModelError, TwofoldError
from .chat import ChatService
from .defaults import ArtifactDefaults, Defaults, ToolkitDefaults
from .engine import EngineSettings
from .gpt_generator import GptGenerator, generates
from .handlers import HandlerService
from .invocation import Service
from .model import load
from .requirements import install
from .rows_service import RowsService, ServedModel
from .user_functions import find_functions, program_path


def open_service(folder: Path, endpoint: Endpoint, settings: EngineSettings) -> Service:
    """Load a model folder with all that leads from a request to its answer.

    Raises:
        ModelError: something is missing from the folder, or fails.
        ConfigError: a setting that this model cannot have, or requirements that cannot be installed.
    """
    path = program_path(folder, endpoint.program)
    if path is None:
        model = load(folder, settings)
        return RowsService(model, endpoint, _chat(folder, model.manifest))
    install(folder / CODE)
    try:
        functions = find_functions(path)
        defaults: Defaults = ToolkitDefaults(path.name)
        if (folder / MANIFEST).is_file() and functions.model_fn is None:
            defaults = ArtifactDefaults(load(folder, settings), endpoint)
        return HandlerService(folder, functions, defaults, endpoint)
    except TwofoldError:
        raise
    except Exception as error:
        raise ModelError(
            f"{path.name} failed to load the model: {type(error).__name__}: {error}. Correct it."
        ) from error


def preparation(service: Service) -> Callable[[], None] | None:
    """Return what each worker has to do after its fork, before it can answer; None where it can at once."""
    if isinstance(service, HandlerService) and service.loads_in_workers:
        return service.prepare
    if isinstance(service, RowsService) and gpu_here():
        # The weights go to the GPU with the first row.
        return partial(_answer_once, service.model)
    return None


def _answer_once(model: ServedModel) -> None:
    model.predict(np.zeros((1, *model.row_shape), dtype=np.float32))


def _chat(folder: Path, manifest: Manifest) -> ChatService | None:
    if not generates(manifest):
        return None
    return ChatService(GptGenerator(folder, manifest), manifest.architecture.name)
