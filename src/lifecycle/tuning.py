"""Tuning jobs: ranges around the training job of the file, and the best training job that comes of them."""

from ..errors import ConfigError
from . import training
from .aws import Document
from .names import digest
from .project import Project
from .resources import TUNING, find
from .sections import Range


def request(project: Project) -> Document:
    """The request of a tuning job, without its name.

    Raises:
        ConfigError: a range is none, or the strategy cannot use it.
    """
    tune = project.config.tune
    limits = {"MaxParallelTrainingJobs": tune.parallel}
    if tune.strategy != "Grid":
        # Of a grid there are as many as it has points; another number is refused.
        limits["MaxNumberOfTrainingJobs"] = tune.jobs
    definition = training.definition(project)
    if project.config.train.spot:
        place = {"S3Uri": project.storage.uri("checkpoints"), "LocalPath": training.CHECKPOINTS}
        definition["CheckpointConfig"] = place
    return {
        "HyperParameterTuningJobConfig": {
            "Strategy": tune.strategy,
            "HyperParameterTuningJobObjective": {"Type": tune.goal, "MetricName": tune.metric},
            "ResourceLimits": limits,
            "ParameterRanges": _ranges(tune.ranges, grid=tune.strategy == "Grid"),
            "TrainingJobEarlyStoppingType": "Auto" if tune.early_stopping else "Off",
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": training.hyperparameters(project, *tune.ranges),
            **definition,
        },
        "Tags": project.tags,
    }


def create(project: Project, *, again: bool) -> str:
    """Create the tuning job that the file asks for, unless there is one; returns its name."""
    asked = request(project)
    name, new = training.unused(project, TUNING, f"{project.name}-{digest(asked)}", again=again)
    if new:
        project.aws.do("sagemaker", "CreateHyperParameterTuningJob", HyperParameterTuningJobName=name, **asked)
    return name


def best(project: Project, name: str) -> Document | None:
    """Summary of the best training job of a tuning job; None when there is no such job, or none has ended well."""
    found = find(project.aws, TUNING, name)
    return found.get("BestTrainingJob") if found is not None else None


def _ranges(ranges: dict[str, Range], *, grid: bool) -> Document:
    found: dict[str, list[Document]] = {}
    for name, given in ranges.items():
        kind, content = _range(name, given)
        if grid and kind != "CategoricalParameterRanges":
            raise ConfigError(f"tune.ranges.{name} has min and max. Expected values for strategy Grid: list them.")
        found.setdefault(kind, []).append({"Name": name, **content})
    return found


def _range(name: str, given: Range) -> tuple[str, Document]:
    if given.values:
        return "CategoricalParameterRanges", {"Values": [training.text(value) for value in given.values]}
    if given.min is None or given.max is None or given.min >= given.max:
        raise ConfigError(
            f"tune.ranges.{name} goes from {given.min} to {given.max}. Expected min below max, or values: correct it."
        )
    whole = isinstance(given.min, int) and isinstance(given.max, int)
    kind = "IntegerParameterRanges" if whole else "ContinuousParameterRanges"
    return kind, {"MinValue": str(given.min), "MaxValue": str(given.max), "ScalingType": given.scale}
