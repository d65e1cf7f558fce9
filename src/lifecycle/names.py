"""Names that follow from what is asked for, so that asking twice makes one thing."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

HASH = 8
"""Hexadecimal digits in a name."""


def digest(content: object) -> str:
    """First digits of the SHA-256 of a JSON value, whatever the order of its keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:HASH]


def digest_files(files: Mapping[str, Path]) -> str:
    """The same of files and the names that they go by."""
    found = hashlib.sha256()
    for name in sorted(files):
        with files[name].open("rb") as file:
            found.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return found.hexdigest()[:HASH]


def numbered(stem: str, attempt: int) -> str:
    """Name of the n-th try, which the first one does not show."""
    return stem if attempt == 1 else f"{stem}-{attempt}"
