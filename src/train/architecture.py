"""Which model a job trains: its name and arguments as the manifest has them, and the module itself."""

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..contract import artifact
from ..contract.artifact import Architecture, Signature
from ..contract.job import TrainingJob
from ..errors import ConfigError
from ..models.own import accepted, build_own, load_function
from ..models.standardize import Restore, Standardize, StandardizePixels
from ..models.table import build
from .channels import Source
from .config import MODELS, TrainingConfig
from .fields import DTYPES
from .ranks import Ranks
from .survey import Survey
from .tasks import Task

log = logging.getLogger(__name__)

CODE_CHANNEL = "code"
"""Channel that may hold the code of an own model."""
_NOT_CODE = shutil.ignore_patterns("__pycache__", "*.pyc", ".git", ".*")


@dataclass(frozen=True, slots=True)
class Blueprint:
    """All that is needed to build a model and to describe it to others."""

    architecture: Architecture
    input: Signature
    code: str | None = None
    """File of an own model's function, below `folder`."""
    folder: Path | None = None
    """The user's code."""

    def build(self) -> nn.Module:
        """Build the module with fresh weights.

        Raises:
            ModelError: an own model's function cannot be called, or fails.
        """
        if self.code is None or self.folder is None:
            return build(self.architecture.name, self.architecture.arguments)
        return build_own(self.folder, self.code, self.architecture.name, self.architecture.arguments)

    def copy_code(self, model: Path) -> None:
        """Put an own model's code into the artifact."""
        if self.folder is not None:
            shutil.copytree(self.folder, model / artifact.CODE, ignore=_NOT_CODE, dirs_exist_ok=True)


def draw(config: TrainingConfig, task: Task, training: Source, job: TrainingJob, code: Path | None) -> Blueprint:
    """Describe the model of a job; `code` is the folder of an own model.

    Raises:
        ConfigError: a model that the task or the data cannot have.
        ModelError: an own model's function cannot be found.
    """
    fields = training.fields
    signature = Signature(shape=list(fields.shape), dtype=DTYPES[fields.takes])
    if (config.model == "gpt") != (task.name == "language-modelling") and config.model in MODELS:
        raise ConfigError(f"model is {config.model!r} for the task {task.name!r}. Change 'model' or 'task'.")
    if config.model not in MODELS:
        file, _, function = config.model.rpartition(":")
        file = file if file.endswith(".py") else f"{file}.py"
        folder = code or job.paths.code
        offered = {"shape": list(fields.shape), "features": fields.width, "outputs": task.outputs}
        arguments = accepted(load_function(folder, file, function), offered) | config.model_arguments
        return Blueprint(Architecture(name=function, arguments=arguments), signature, file, folder)
    return Blueprint(Architecture(name=config.model, arguments=_arguments(config, task, training)), signature)


def _arguments(config: TrainingConfig, task: Task, training: Source) -> dict[str, Any]:
    shape = training.fields.shape
    if config.model == "gpt":
        sizes = config.model_dump(include={"width", "layers", "heads", "dropout", "positions"})
        tokenizer = "bytes" if training.is_text else "none"
        # Rows of tokens may be longer than what text would be cut to.
        return {"vocabulary": task.outputs, "context": max(config.context, *shape), **sizes, "tokenizer": tokenizer}
    arguments: dict[str, Any] = {"outputs": task.outputs}
    if task.name == "regression" and config.normalize:
        arguments["restore"] = True
    if config.model == "resnet":
        sizes = config.model_dump(include={"depth", "filters", "norm"})
        return arguments | {"height": shape[1], "width": shape[2], **sizes}
    arguments["features"] = training.features
    if config.model == "mlp":
        arguments |= {"hidden": config.hidden, "dropout": config.dropout}
    return arguments


def fit_normalization(module: nn.Module, facts: Survey) -> None:
    """Put the statistics of the training data where the model keeps them."""
    for part in module.modules():
        if isinstance(part, Standardize):
            part.fit(torch.from_numpy(facts.mean[1:]).float(), torch.from_numpy(facts.std[1:]).float())
        elif isinstance(part, StandardizePixels):
            mean, std = _of_colours(facts)
            part.fit(mean, std)
        elif isinstance(part, Restore):
            part.fit(float(facts.mean[0]), float(facts.std[0]))


def _of_colours(facts: Survey) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each colour, from those of each pixel: the mean of squares is additive."""
    mean, std = (torch.from_numpy(np.reshape(values[1:], (3, -1))) for values in (facts.mean, facts.std))
    colour = mean.mean(dim=1)
    variance = (std.square() + mean.square()).mean(dim=1) - colour.square()
    return colour.float(), variance.clamp(min=0).sqrt().float()


def find_code(job: TrainingJob, ranks: Ranks, scratch: Path) -> Path:
    """Return the folder of the user's code, brought here if it is elsewhere; call it on every rank.

    It is `sagemaker_submit_directory`, a folder or an archive here or in S3; else the channel `code`; else
    `/opt/ml/code`, where an image may have it.
    """
    place = job.submit_directory
    if place is None:
        channel = job.channels.get(CODE_CHANNEL)
        return channel.path if channel else job.paths.code
    if Path(place).is_dir():
        return Path(place)
    target = scratch / CODE_CHANNEL
    if ranks.local_rank == 0:
        # Not at the top: it brings boto3, and archives are rare.
        from sagemaker_training.files import download_and_extract  # noqa: PLC0415

        download_and_extract(place, str(target))
    ranks.barrier()
    return target
