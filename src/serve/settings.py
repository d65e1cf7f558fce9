"""Settings of the server itself, beside those that SageMaker names."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import ConfigError

_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How requests wait and what is told about them; one worker's share each."""

    batch_rows: int | None = None
    """Most rows of one forward pass; None measures it at the start (`TWOFOLD_BATCH_ROWS`)."""
    queue_requests: int = 1024
    """Requests that may wait for the model (`TWOFOLD_QUEUE_REQUESTS`)."""
    queue_bytes: int = 256 * _MEGABYTE
    """Bytes of rows that may wait for the model (`TWOFOLD_QUEUE_MB`)."""
    access_log: bool = False
    """Whether each request leaves a line of JSON in the log (`TWOFOLD_ACCESS_LOG`)."""
    metrics_seconds: int = 60
    """Seconds between two lines of metrics for CloudWatch; 0 writes none (`TWOFOLD_METRICS_SECONDS`)."""


def read_server_settings(environ: Mapping[str, str]) -> ServerSettings:
    """Read the settings; an empty variable counts as not set.

    Raises:
        ConfigError: a variable has a value that it cannot have.
    """
    default = ServerSettings()
    seconds = _number(environ, "TWOFOLD_METRICS_SECONDS", low=0)
    return ServerSettings(
        batch_rows=_number(environ, "TWOFOLD_BATCH_ROWS", low=1),
        queue_requests=_number(environ, "TWOFOLD_QUEUE_REQUESTS", low=1) or default.queue_requests,
        queue_bytes=(_number(environ, "TWOFOLD_QUEUE_MB", low=1) or 0) * _MEGABYTE or default.queue_bytes,
        access_log=_flag(environ, "TWOFOLD_ACCESS_LOG"),
        metrics_seconds=default.metrics_seconds if seconds is None else seconds,
    )


def _number(environ: Mapping[str, str], name: str, *, low: int) -> int | None:
    text = environ.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 9) or int(text) < low:
        raise _wrong(name, text, f"a whole number of at least {low}")
    return int(text)


def _flag(environ: Mapping[str, str], name: str) -> bool:
    word = environ.get(name, "").strip().lower() or "false"
    if word not in _FLAGS:
        raise _wrong(name, word, "true or false")
    return _FLAGS[word]


def _wrong(name: str, value: str, expected: str) -> ConfigError:
    return ConfigError(
        f"The environment variable {name} is {value!r}. Expected {expected}. Correct it in the model's Environment, or "
        f"leave it out."
    )
