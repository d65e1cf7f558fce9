r"""Hyperparameters of a training job: every value arrives as text, often as JSON in text, sometimes encoded twice.

    in the file             decoded
    "10"                    10        a number, as a caller of the API sends it
    "\"adam\""              "adam"    JSON in text: the SageMaker Python SDK encodes every value
    "adam"                  "adam"    not JSON: the text itself
    "\"\\\"adam\\\"\""      "adam"    a JSON string in a JSON string: encoded by the caller and by the SDK
    "\"10\""                "10"      a string on purpose; it becomes a number only where a setting wants a number
    "010", "ten"            the text  not JSON
    "NaN", "Infinity"       float     as sagemaker-training has it; a setting that wants a finite number refuses it
    "null"                  None      likewise
    10                      10        not a string: local runs and hand-written files

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html, and
STT:environment.py, params.py for the decoding and the names of the platform's own keys.
"""

import json
from dataclasses import dataclass, field

from .json_file import JSON, read_object
from .paths import Paths

FRAMEWORK_PREFIX = "sagemaker_"
TUNING_METRIC = "_tuning_objective_metric"
FRAMEWORK_KEYS = frozenset({TUNING_METRIC, "default_user_module_name"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """What the caller of the job set, apart from what the platform and its SDK added."""

    user: dict[str, JSON] = field(default_factory=dict)
    """Decoded values of the user's own keys."""
    framework: dict[str, JSON] = field(default_factory=dict)
    """Decoded values of `sagemaker_*`, `_tuning_objective_metric` and `default_user_module_name`."""
    raw: dict[str, str] = field(default_factory=dict)
    """All values as the file has them, text undecoded."""


def read_hyperparameters(paths: Paths) -> Hyperparameters:
    """Read `hyperparameters.json`; a missing or empty file means no hyperparameters.

    Raises:
        ConfigError: the file is not a JSON object.
    """
    content = read_object(paths.hyperparameters) or {}
    decoded = {key: decode(value) for key, value in content.items()}
    return Hyperparameters(
        user={key: value for key, value in decoded.items() if not is_framework_key(key)},
        framework={key: value for key, value in decoded.items() if is_framework_key(key)},
        raw={key: value if isinstance(value, str) else json.dumps(value) for key, value in content.items()},
    )


def is_framework_key(key: str) -> bool:
    """Tell whether a hyperparameter belongs to the platform or its SDK rather than to the user."""
    return key.startswith(FRAMEWORK_PREFIX) or key in FRAMEWORK_KEYS


def decode(value: JSON) -> JSON:
    """Decode one value: JSON if it is JSON, else the text itself; a string in a string is unwrapped once more.

    The second step never changes the type, so a quoted number stays a string.
    """
    if not isinstance(value, str):
        return value
    once = _from_json(value)
    if not isinstance(once, str) or not once.startswith('"'):
        return once
    twice = _from_json(once)
    return twice if isinstance(twice, str) else once


def _from_json(text: str) -> JSON:
    try:
        value: JSON = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value
