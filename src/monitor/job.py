"""A monitoring job of SageMaker: everything that its environment says.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-contract-inputs.html.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..contract.cluster import Cluster, read_cluster
from ..contract.paths import Paths
from ..contract.processing import read_processing_job
from ..errors import ConfigError
from .capture import Window, read_time
from .quality import PROBLEMS, Problem

SOURCE_VARIABLE = "dataset_source"
_FORMATS = ("sagemakerCaptureJson", "csv", "json", "parquet")
_OUTPUT = "/opt/ml/processing/output"
PORT_VARIABLE = "MONITOR_PORT"
_PORT = 7791
"""Where host 0 of a job takes the parts of the others, unless the variable says another."""


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
    sharded: bool
    """Whether each host has files of its own rather than all of them."""
    port: int


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
    source = paths.local(environ[SOURCE_VARIABLE])
    processing = read_processing_job(paths)
    form = _format(environ.get("dataset_format") or "")
    return Job(
        source=source,
        output=paths.local(environ.get("output_path") or _OUTPUT),
        captured=form == "sagemakerCaptureJson",
        window=Window(
            read_time("start_time", environ.get("start_time")), read_time("end_time", environ.get("end_time"))
        ),
        statistics=paths.local(statistics) if statistics else None,
        constraints=paths.local(constraints) if constraints else None,
        publish_metrics=environ.get("publish_cloudwatch_metrics", "Enabled") == "Enabled",
        endpoint=environ.get("sagemaker_endpoint_name") or None,
        schedule=environ.get("sagemaker_monitoring_schedule_name") or None,
        problem=_problem(environ.get("problem_type") or ""),
        cluster=read_cluster(paths.processing_resource_config),
        sharded=processing is not None and processing.is_sharded(source),
        port=_port(environ.get(PORT_VARIABLE) or str(_PORT)),
    )


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 1 << 16:
        raise ConfigError(f"{PORT_VARIABLE} is {text!r}. Expected a port from 1 to 65535: correct the variable.")
    return int(text)


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
