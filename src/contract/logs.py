"""The log: whole lines on one stream, metrics in a form that a metric definition's regular expression finds.

    [rank 0] 2026-09-01 12:00:00 INFO train.loop: epoch=3 train:loss=0.123 validation:accuracy=0.97
    [algo-2 rank 8] 2026-09-01 12:00:00 WARNING ...      in a job of several hosts

CloudWatch keeps lines and scrapes metrics from them, so a carriage return would glue a progress bar into one endless
line, and an escape sequence would hide a number. Logs and metrics share stdout: two streams would arrive out of order.
Every line of a traceback carries the prefix of its record, so that interleaved ranks stay legible.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/define-train-metrics.html: the first group must be the number.
"""

import logging
import math
import re
import sys
import time
from collections.abc import Mapping
from typing import TextIO

from ..errors import ConfigError, UserError

DEFAULT_LEVEL = logging.INFO

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")
_METRIC_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_:./@-]{0,254}")
_NUMBER = r"[-+]?[0-9]+(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?"


class LineFormatter(logging.Formatter):
    """Formats a record as one or more whole lines, each with rank, time, level and the logger's name in front."""

    def __init__(self, speaker: str) -> None:
        super().__init__()
        self._speaker = speaker

    def format(self, record: logging.LogRecord) -> str:
        """Format the message and, if there is one, the traceback."""
        name = record.name.removeprefix("twofold.")
        prefix = f"{self._speaker}{_utc(record.created)} {record.levelname} {name}: "
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        if record.stack_info:
            text = f"{text}\n{self.formatStack(record.stack_info)}"
        lines = _ESCAPES.sub("", text).splitlines() or [""]
        return "\n".join(prefix + line for line in lines)


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes each record in one piece and flushes; a class of its own so that `configure` finds it again."""


def speaker(host: str | None, rank: int | None) -> str:
    """What stands before every line of a process: `[algo-1 rank 0] `, without what is None."""
    names = ([host] if host else []) + ([f"rank {rank}"] if rank is not None else [])
    return f"[{' '.join(names)}] " if names else ""


def configure(level: int, *, host: str | None = None, rank: int | None = None, stream: TextIO | None = None) -> None:
    """Send all logging of this process to one stream; a second call replaces the first.

    Args:
        level: lowest level that is written, as `logging` numbers them.
        host: put in front of every line; None, for a job of one host, leaves it out.
        rank: put in front of every line; None, for a job of one process, leaves it out.
        stream: where to write; None is stdout.
    """
    handler = LineHandler(stream or sys.stdout)
    handler.setFormatter(LineFormatter(speaker(host, rank)))
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, LineHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)


def redirect(stream: TextIO) -> None:
    """Send lines to another stream from now on, all else as `configure` has set it."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LineHandler):
            handler.setStream(stream)


def read_level(environ: Mapping[str, str], hyperparameter: str | None = None) -> int:
    """Read the numeric log level: the hyperparameter first, then `SAGEMAKER_CONTAINER_LOG_LEVEL`, else 20 (INFO).

    Raises:
        ConfigError: it is no number of `logging`.
    """
    text = hyperparameter or environ.get("SAGEMAKER_CONTAINER_LOG_LEVEL") or str(DEFAULT_LEVEL)
    if not text.isdecimal():
        name = "hyperparameter sagemaker_container_log_level" if hyperparameter else "SAGEMAKER_CONTAINER_LOG_LEVEL"
        raise ConfigError(
            f"{name} is {text!r}. Expected a level of Python's logging as a number: 10 (debug), 20 (info), 30 "
            f"(warning) or 40 (error). Correct it, or leave it out for 20."
        )
    return int(text)


def metric_line(values: Mapping[str, float]) -> str:
    """Write metrics as `train:loss=0.123 validation:accuracy=0.97`, seven significant digits each.

    Raises:
        UserError: a value is not finite, which CloudWatch cannot hold, or a name has a character that would hide it.
    """
    for name, value in values.items():
        _check_name(name)
        if not math.isfinite(value):
            raise UserError(
                f"The metric {name} is {value}. Expected a finite number. Lower learning_rate, or look for NaN "
                f"and infinity in the data."
            )
    return " ".join(f"{name}={value:.7g}" for name, value in values.items())


def metric_regex(name: str) -> str:
    """Regular expression for MetricDefinitions that finds one metric of `metric_line`, the number in its only group.

    Raises:
        UserError: no metric can have this name.
    """
    _check_name(name)
    return rf"(?:^|\s){re.escape(name)}=({_NUMBER})(?:\s|$)"


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def _check_name(name: str) -> None:
    if not _METRIC_NAME.fullmatch(name):
        raise UserError(
            f"{name!r} is no name for a metric. Expected a letter and then up to 254 of the characters "
            f"A-Z a-z 0-9 _ : . / @ -. Rename the metric."
        )
