"""What a checkpoint consists of, in JSON: written last, so that all it names is there, and checked before use."""

import json
import logging
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import google_crc32c
from pydantic import BaseModel, ConfigDict, Field, ValidationError

log = logging.getLogger(__name__)

MANIFEST = "complete.json"
"""File in the folder of a checkpoint; without it the checkpoint does not count."""
_FOLDER = re.compile(r"step-(\d{9,})")
_CHUNK_BYTES = 1 << 20


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StoredFile(_Entry):
    """One file, written by one rank."""

    size: int
    """Bytes."""
    crc32c: int
    """Checksum of all of it, which processors have an instruction for."""


class Piece(_Entry):
    """A box of a tensor, as one rank had it."""

    file: str
    """Name of the file in the checkpoint's folder."""
    key: str
    """Name of the piece in the file."""
    offsets: list[int]
    """Where the box begins in the whole tensor, for each dimension."""
    sizes: list[int]
    """Extent of the box."""


class StoredTensor(_Entry):
    """A tensor in pieces."""

    dtype: str
    """Name of the type in torch, e.g. `float32`."""
    size: list[int]
    """Shape of the whole tensor."""
    pieces: list[Piece]


class Manifest(_Entry):
    """A whole checkpoint."""

    format: Literal[2] = 2
    """Version of this layout."""
    step: int
    """Optimizer steps finished."""
    identity: dict[str, Any]
    """Settings that a job must share to go on from here."""
    progress: dict[str, Any]
    """How far the run has come."""
    files: dict[Annotated[str, Field(pattern=r"^rank-\d{5,}\.safetensors$")], StoredFile]
    """Files by name."""
    tensors: dict[str, StoredTensor]
    """Tensors by name."""


def folder_of(step: int) -> str:
    """Name of the folder of a checkpoint."""
    return f"step-{step:09d}"


def steps_in(folder: Path) -> list[int]:
    """Steps that have a folder, whole or not, newest first."""
    found = (_FOLDER.fullmatch(path.name) for path in folder.glob("step-*"))
    return sorted((int(match[1]) for match in found if match), reverse=True)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a checkpoint whose files are all on the disk: with its name the checkpoint counts."""
    content = json.dumps(manifest.model_dump()).encode()
    partial = folder / f".{MANIFEST}.partial"
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / MANIFEST)
    sync_folder(folder)


def read_manifest(path: Path) -> bytes | None:
    """Return the text of a manifest, or None where there is none or it is broken."""
    try:
        content = path.read_bytes()
        parse_manifest(content)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("passing over the broken checkpoint %s: %s", path.parent, _first_line(error))
        return None
    return content


def parse_manifest(content: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        ValueError: it is none.
    """
    return Manifest.model_validate(json.loads(content))


def is_whole(path: Path, expected: StoredFile) -> bool:
    """Whether a file is there, byte for byte."""
    try:
        return path.stat().st_size == expected.size and checksum(path) == expected.crc32c
    except OSError:
        return False


def checksum(path: Path) -> int:
    """CRC-32C of a file."""
    value = 0
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            value = google_crc32c.extend(value, chunk)
    return value


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error).splitlines()[0]
