"""The first `twofold.yaml` of a project: every field with its meaning above it, and the value that it has unsaid."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from ..errors import ConfigError
from .config import explained
from .sections import Config, Section

HEADER = """\
# How this project is trained, deployed and watched: read by the command `twofold`, flags go before it.
# Fields that are left out have the values shown here. `twofold VERB --help` says what each verb does.
"""
WIDTH = 4096
"""Longer than any line: a value stays on its own."""


def write_template(values: Mapping[str, object]) -> str:
    """Write the file with some values given; ConfigError when they do not fit."""
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(explained(error)) from error
    return HEADER + "\n".join(_lines(config, "")) + "\n"


def _lines(section: Section, indent: str) -> Iterator[str]:
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if not indent:
            yield ""
        yield f"{indent}# {field.description}"
        if isinstance(value, Section):
            yield f"{indent}{name}:"
            yield from _lines(value, indent + "  ")
        else:
            text = yaml.safe_dump({name: _plain(value)}, sort_keys=False, width=WIDTH, allow_unicode=True)
            yield from (indent + line for line in text.splitlines())


def _plain(value: Any) -> Any:  # noqa: ANN401 - any value of a field
    """A value as the file shows it: sections inside of maps without what they have unsaid."""
    if isinstance(value, BaseModel):
        return {key: _plain(item) for key, item in value if key in value.model_fields_set}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
