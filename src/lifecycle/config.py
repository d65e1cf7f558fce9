"""`twofold.yaml`: read, overridden by flags, checked as a whole before anything is asked of AWS."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ..errors import ConfigError
from .sections import Config

FILE = "twofold.yaml"


def read_config(path: Path, overrides: Sequence[str] = (), flags: Mapping[str, object] = {}) -> Config:
    """Read the file and lay flags over it.

    Args:
        path: the file.
        overrides: texts such as `train.hyperparameters.epochs=3`, values in YAML.
        flags: values by the same dotted names; None leaves what the file says.

    Raises:
        ConfigError: the file is missing or no YAML, a key is unknown, a value does not fit.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"There is no {path}. Expected the file of a project: `twofold init` writes it.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} cannot be read: {reason}. Expected YAML in UTF-8. Correct the file.") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds no keys. Expected those that `twofold init` writes.")
    for override in overrides:
        name, equals, text = override.partition("=")
        if not equals or not name:
            raise ConfigError(f"--set {override!r} has no form. Expected NAME=VALUE, e.g. train.instance_count=2.")
        _lay(content, name.split("."), _value(override, text))
    for name, value in flags.items():
        if value is not None:
            _lay(content, name.split("."), value)
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{path}: {explained(error)}") from error


def _value(override: str, text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override!r}: the value is no YAML. Expected e.g. 3, true or '[64, 64]'.") from error


def _lay(content: dict[str, Any], names: Sequence[str], value: object) -> None:
    for name in names[:-1]:
        # A section that is there without anything in it reads as null.
        content[name] = content.get(name) or {}
        content = content[name]
        if not isinstance(content, dict):
            raise ConfigError(f"{'.'.join(names)} cannot be set: {name} is {content!r}. Expected a section.")
    content[names[-1]] = value


def explained(error: ValidationError) -> str:
    """What does not fit first, and what to change."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"{where} is missing. Expected it in the file, or as a flag."
    if first["type"] == "extra_forbidden":
        known = _keys([str(part) for part in first["loc"][:-1]])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        offer = f"Did you mean {near[0]!r}?" if near else f"Known here: {', '.join(known)}."
        return f"{where} is unknown. {offer}"
    message = first["msg"].removeprefix("Value error, ")
    if not where:
        return f"{message}. Change it."
    return f"{where} is {first['input']!r}. {message}. Change {where}."


def _keys(place: Sequence[str]) -> list[str]:
    """Names of the fields of a section, by the names that lead to it."""
    section: Any = Config
    for name in place:
        fields = getattr(section, "model_fields", {})
        section = fields[name].annotation if name in fields else None
    return list(getattr(section, "model_fields", {}))
