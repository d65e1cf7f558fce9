"""Settings of a serving container, all from environment variables; a real-time endpoint and a batch transform differ.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html and, beside it,
your-algorithms-batch-code.html for the platform's variables; SIT:environment.py, parameters.py for the toolkit's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import ConfigError
from .logs import DEFAULT_LEVEL, read_level

BadRows = Literal["refuse", "nan"]
Strategy = Literal["SINGLE_RECORD", "MULTI_RECORD"]

MEGABYTE = 1024 * 1024
DEFAULT_PORT = 8080
DEFAULT_ACCEPT = "application/json"
REALTIME_PAYLOAD_MB = 25
BATCH_PAYLOAD_MB = 100
REALTIME_TIMEOUT = 60
BATCH_TIMEOUT = 3600
STARTUP_TIMEOUT = 600
SESSIONS_LIFETIME = 1200
DEFAULT_HANDLER_THREADS = 1
DEFAULT_HANDLER_BATCH = 32

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_STRATEGIES: dict[str, Strategy] = {"SINGLERECORD": "SINGLE_RECORD", "MULTIRECORD": "MULTI_RECORD"}
_OF_AWS = ("AWS_REGION", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
"""What tells the platform from a machine at home: it says so nowhere, but its containers were seen with these."""
_RANGE = re.compile(r"([0-9]{1,5})-([0-9]{1,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """How this container is to serve."""

    port: int = DEFAULT_PORT
    """Port to listen on, the only one by default (`SAGEMAKER_BIND_TO_PORT`)."""
    safe_port_range: tuple[int, int] | None = None
    """First and last port that may be opened besides (`SAGEMAKER_SAFE_PORT_RANGE`)."""
    default_accept: str = DEFAULT_ACCEPT
    """Media type of answers when the client names none (`SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT`)."""
    workers: int | None = None
    """Number of server processes; None leaves it to the server (`SAGEMAKER_MODEL_SERVER_WORKERS`)."""
    timeout: int = REALTIME_TIMEOUT
    """Seconds that one request may take (`SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS`, then `…_TIMEOUT`)."""
    startup_timeout: int = STARTUP_TIMEOUT
    """Seconds that loading the model may take (`SAGEMAKER_STARTUP_TIMEOUT`)."""
    max_payload_bytes: int | None = REALTIME_PAYLOAD_MB * MEGABYTE
    """Largest body of a request; None is unlimited (`SAGEMAKER_MAX_PAYLOAD_IN_MB`)."""
    batch: bool = False
    """Whether this is a batch transform (`SAGEMAKER_BATCH`)."""
    batch_strategy: Strategy | None = None
    """Records in a request, if the job says so (`SAGEMAKER_BATCH_STRATEGY`)."""
    max_concurrent_transforms: int | None = None
    """Requests at once, if the job says so (`SAGEMAKER_MAX_CONCURRENT_TRANSFORMS`)."""
    bad_rows: BadRows = "refuse"
    """What a bad line among others does: the request is refused, or the line's answer is NaN (`TWOFOLD_BAD_ROWS`)."""
    multi_model: bool = False
    """Whether models come and go by `/models` (`SAGEMAKER_MULTI_MODEL`)."""
    models_memory_bytes: int | None = None
    """Bytes that all models together may take; None measures what there is (`TWOFOLD_MODELS_MEMORY_MB`)."""
    program: str | None = None
    """The user's script below `model/code`, if one is named (`SAGEMAKER_PROGRAM`)."""
    submit_directory: str | None = None
    """Where that script comes from, if the SDK says so (`SAGEMAKER_SUBMIT_DIRECTORY`)."""
    handler_threads: int = DEFAULT_HANDLER_THREADS
    """Calls of a user's functions at once in each worker; the toolkit makes one (`TWOFOLD_HANDLER_THREADS`)."""
    handler_batch: int = DEFAULT_HANDLER_BATCH
    """Most inputs of one call of a user's `batch_predict_fn` (`TWOFOLD_HANDLER_BATCH`)."""
    stateful_sessions: bool = False
    """Whether clients can open sessions (`SAGEMAKER_ENABLE_STATEFUL_SESSIONS`)."""
    sessions_lifetime: int = SESSIONS_LIFETIME
    """Seconds after which a session ends (`SAGEMAKER_SESSIONS_EXPIRATION`)."""
    sessions_path: str | None = None
    """Folder in which sessions are kept; None leaves it to the server (`SAGEMAKER_SESSIONS_PATH`)."""
    page: bool = True
    """Whether people find a page at `/`; by default not on the platform (`TWOFOLD_PAGE`)."""
    region: str | None = None
    """AWS region (`AWS_REGION`, `SAGEMAKER_REGION`, `AWS_DEFAULT_REGION`)."""
    log_level: int = DEFAULT_LEVEL
    """Numeric level of `logging` (`SAGEMAKER_CONTAINER_LOG_LEVEL`)."""


def read_endpoint(environ: Mapping[str, str]) -> Endpoint:
    """Read the settings; an empty variable counts as not set.

    In a batch transform the time-out is by default the longest that a job can ask for, since the job's own is not told.

    Raises:
        ConfigError: a variable has a value that it cannot have.
    """
    batch = _flag(environ, "SAGEMAKER_BATCH")
    seconds = _number(environ, "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS", low=1)
    timeout = seconds or _number(environ, "SAGEMAKER_MODEL_SERVER_TIMEOUT", low=1)
    return Endpoint(
        port=_number(environ, "SAGEMAKER_BIND_TO_PORT", low=1, high=65535) or DEFAULT_PORT,
        safe_port_range=_port_range(environ, "SAGEMAKER_SAFE_PORT_RANGE"),
        default_accept=environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT") or DEFAULT_ACCEPT,
        workers=_number(environ, "SAGEMAKER_MODEL_SERVER_WORKERS", low=1),
        timeout=timeout or (BATCH_TIMEOUT if batch else REALTIME_TIMEOUT),
        startup_timeout=_number(environ, "SAGEMAKER_STARTUP_TIMEOUT", low=1) or STARTUP_TIMEOUT,
        max_payload_bytes=_payload(environ, "SAGEMAKER_MAX_PAYLOAD_IN_MB", batch=batch),
        batch=batch,
        batch_strategy=_strategy(environ, "SAGEMAKER_BATCH_STRATEGY"),
        max_concurrent_transforms=_number(environ, "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS", low=1),
        bad_rows=_bad_rows(environ, "TWOFOLD_BAD_ROWS"),
        multi_model=_flag(environ, "SAGEMAKER_MULTI_MODEL"),
        models_memory_bytes=_megabytes(environ, "TWOFOLD_MODELS_MEMORY_MB"),
        program=environ.get("SAGEMAKER_PROGRAM") or None,
        submit_directory=environ.get("SAGEMAKER_SUBMIT_DIRECTORY") or None,
        handler_threads=_number(environ, "TWOFOLD_HANDLER_THREADS", low=1) or DEFAULT_HANDLER_THREADS,
        handler_batch=_number(environ, "TWOFOLD_HANDLER_BATCH", low=1) or DEFAULT_HANDLER_BATCH,
        stateful_sessions=_flag(environ, "SAGEMAKER_ENABLE_STATEFUL_SESSIONS"),
        sessions_lifetime=_number(environ, "SAGEMAKER_SESSIONS_EXPIRATION", low=1) or SESSIONS_LIFETIME,
        sessions_path=environ.get("SAGEMAKER_SESSIONS_PATH") or None,
        page=_flag(environ, "TWOFOLD_PAGE", default=not any(map(environ.get, _OF_AWS))),
        region=environ.get("AWS_REGION")
        or environ.get("SAGEMAKER_REGION")
        or environ.get("AWS_DEFAULT_REGION")
        or None,
        log_level=read_level(environ),
    )


def _flag(environ: Mapping[str, str], name: str, *, default: bool = False) -> bool:
    word = environ.get(name, "").strip().lower()
    if word and word not in _TRUE | _FALSE:
        raise _wrong(name, environ[name], "true or false")
    return word in _TRUE if word else default


def _number(environ: Mapping[str, str], name: str, *, low: int, high: int | None = None) -> int | None:
    text = environ.get(name, "").strip()
    if not text:
        return None
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else None
    if number is None or number < low or (high is not None and number > high):
        bound = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise _wrong(name, text, f"a whole number {bound}")
    return number


def _megabytes(environ: Mapping[str, str], name: str) -> int | None:
    megabytes = _number(environ, name, low=0)
    return None if megabytes is None else megabytes * MEGABYTE


def _payload(environ: Mapping[str, str], name: str, *, batch: bool) -> int | None:
    megabytes = _number(environ, name, low=0 if batch else 1)
    if megabytes is None:
        megabytes = BATCH_PAYLOAD_MB if batch else REALTIME_PAYLOAD_MB
    return megabytes * MEGABYTE or None


def _port_range(environ: Mapping[str, str], name: str) -> tuple[int, int] | None:
    text = environ.get(name, "").strip()
    if not text:
        return None
    match = _RANGE.fullmatch(text)
    first, last = (int(part) for part in match.groups()) if match else (0, 0)
    if not 1 <= first <= last <= 65535:
        raise _wrong(name, text, "two ports from 1 to 65535 in order, such as 21000-21100")
    return first, last


def _strategy(environ: Mapping[str, str], name: str) -> Strategy | None:
    text = environ.get(name, "").strip()
    if not text:
        return None
    strategy = _STRATEGIES.get(text.replace("_", "").upper())
    if strategy is None:
        raise _wrong(name, text, " or ".join(_STRATEGIES.values()))
    return strategy


def _bad_rows(environ: Mapping[str, str], name: str) -> BadRows:
    word = environ.get(name, "").strip().lower() or "refuse"
    if word not in get_args(BadRows):
        raise _wrong(name, environ[name], " or ".join(get_args(BadRows)))
    return "nan" if word == "nan" else "refuse"


def _wrong(name: str, value: str, expected: str) -> ConfigError:
    return ConfigError(
        f"The environment variable {name} is {value!r}. Expected {expected}. Correct it in the model's "
        f"Environment, or leave it out."
    )
