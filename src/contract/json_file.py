"""A JSON object in a file of the platform: read, and its fields checked, with errors that name file and key."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from ..errors import ConfigError

JSON: TypeAlias = bool | int | float | str | list["JSON"] | dict[str, "JSON"] | None
"""Any JSON value."""


def read_object(path: Path) -> dict[str, JSON] | None:
    """Read a JSON object.

    Returns:
        The object, or None when the file is missing or holds nothing but white space.

    Raises:
        ConfigError: the file cannot be read, is not UTF-8, is not JSON, or is not an object.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}. Expected a UTF-8 JSON file. Check what is mounted there."
        ) from error
    if not text.strip():
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path} is not JSON: {error}. Expected one JSON object. Mend the file or remove it."
        ) from error
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path} holds {describe(content)}. Expected one JSON object ({{...}}). Mend the file or remove it."
        )
    return content


def string_field(path: Path, key: str, value: JSON, *, default: str | None = None) -> str | None:
    """Check a field that holds text; null and the empty string count as absent.

    Raises:
        ConfigError: it is there and no string.
    """
    if value is None or value == "":
        return default
    if not isinstance(value, str):
        raise wrong_field(path, key, value, "a string")
    return value


def choice_field(path: Path, key: str, value: JSON, choices: Sequence[str], *, default: str) -> str:
    """Check a field that holds one of several words; null and the empty string count as absent.

    Raises:
        ConfigError: it is there and none of them.
    """
    if value is None or value == "":
        return default
    if value not in choices:
        raise wrong_field(path, key, value, " or ".join(choices))
    return str(value)


def object_field(path: Path, key: str, value: JSON) -> Mapping[str, JSON]:
    """Check a field that holds an object; null counts as an empty one.

    Raises:
        ConfigError: it is there and no object.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong_field(path, key, value, "an object")
    return value


def list_field(path: Path, key: str, value: JSON) -> list[JSON]:
    """Check a field that holds a list; null counts as an empty one.

    Raises:
        ConfigError: it is there and no list.
    """
    if value is None:
        return []
    if not isinstance(value, list):
        raise wrong_field(path, key, value, "a list")
    return value


def wrong_field(path: Path, key: str, value: JSON, expected: str) -> ConfigError:
    """Make the error for a field whose value is not what the contract says."""
    return ConfigError(f"{path}: {key} is {describe(value)}. Expected {expected}. Correct {key} in that file.")


def describe(value: JSON) -> str:
    """Show a JSON value in a message, cut at 80 characters."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
