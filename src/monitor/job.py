"""A monitoring job of SageMaker: everything that its environment says.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-contract-inputs.html.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..contract.cluster import Cluster, read_cluster
from ..contract.paths import DEFAULT_BASE_DIR, Paths
from ..errors import ConfigError
from .capture import Window, read_time
from .quality import PROBLEMS, Problem

SOURCE_VARIABLE = "dataset_source"
_FORMATS = ("sagemakerCaptureJson", "csv", "json", "parquet")
_INPUT, _OUTPUT = "/opt/ml/processing/input", "/opt/ml/processing/output"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the platform says."""

    source: Path
    """Captured traffic, or the data that a baseline is made of."""
    output: Path
    captured: bool
    """Whether the source is captured traffic rather than plain data."""
    window: Window
    statistics: Path | None
    """The baseline; None where this job is to make one."""
    constraints: Path | None
    publish_metrics: bool
    endpoint: str | None
    schedule: str | None
    problem: Problem | None
    """What the model is asked for, by `problem_type`."""
    cluster: Cluster


def read_job(paths: Paths, environ: Mapping[str, str]) -> Job:
    """Read the environment of a monitoring job.

    Raises:
        ConfigError: a variable is broken, or one half of a baseline is missing.
    """
    if not environ.get(SOURCE_VARIABLE):
        raise ConfigError(
            f"The environment variable {SOURCE_VARIABLE} is not there. Expected the folder with the data: use a "
            f"monitoring schedule, set it in the job's Environment, or run `monitor baseline` or `monitor run`."
        )
    statistics, constraints = environ.get("baseline_statistics"), environ.get("baseline_constraints")
    if bool(statistics) != bool(constraints):
        there, absent = ("statistics", "constraints") if statistics else ("constraints", "statistics")
        raise ConfigError(
            f"baseline_{there} is given and baseline_{absent} is not. Expected both or none: name both in the schedule."
        )
    form = _format(environ.get("dataset_format") or "")
    return Job(
        source=local(paths, environ.get(SOURCE_VARIABLE) or _INPUT),
        output=local(paths, environ.get("output_path") or _OUTPUT),
        captured=form == "sagemakerCaptureJson",
        window=Window(
            read_time("start_time", environ.get("start_time")), read_time("end_time", environ.get("end_time"))
        ),
        statistics=local(paths, statistics) if statistics else None,
        constraints=local(paths, constraints) if constraints else None,
        publish_metrics=environ.get("publish_cloudwatch_metrics", "Enabled") == "Enabled",
        endpoint=environ.get("sagemaker_endpoint_name") or None,
        schedule=environ.get("sagemaker_monitoring_schedule_name") or None,
        problem=_problem(environ.get("problem_type") or ""),
        cluster=read_cluster(paths.processing_resource_config),
    )


def local(paths: Paths, text: str) -> Path:
    """Path of the platform, below the root of the tree wherever that is."""
    path = PurePosixPath(text)
    inside = path.is_relative_to(DEFAULT_BASE_DIR)
    return paths.base / path.relative_to(DEFAULT_BASE_DIR) if inside else Path(text)


def _problem(text: str) -> Problem | None:
    found = next((problem for problem in PROBLEMS if problem == text), None)
    if text and found is None:
        raise ConfigError(f"problem_type is {text!r}. Expected one of {', '.join(PROBLEMS)}: correct the variable.")
    return found


def _format(text: str) -> str:
    """Name of the format of the data; the settings inside are found out from the data instead."""
    if not text:
        return ""
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    names = list(content) if isinstance(content, dict) else []
    if len(names) != 1 or names[0] not in _FORMATS:
        raise ConfigError(
            f'dataset_format is {text[:80]!r}. Expected {{"sagemakerCaptureJson": ...}} or one of '
            f"{', '.join(_FORMATS[1:])} in its place: correct the variable."
        )
    return str(names[0])
