"""The ledger of a run: for each step a hash over the ids of its samples, whatever the number of ranks that saw them."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import DataError

LEDGER = "ledger.jsonl"
"""File in the folder for checkpoints, or in the output data where there is none."""
_IDS_AT_ONCE = 1 << 20
_PART_BITS = np.uint64(40)


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Head(_Line):
    """First line: what the ids mean."""

    format: Literal[1] = 1
    """Version of this layout."""
    sizes: list[int]
    """Samples of each part of the channel; one part where all ranks share it."""


class Entry(_Line):
    """A line: the samples of one step, over all ranks."""

    step: int
    """Optimizer steps finished with this one."""
    epoch: int
    """Epoch, from 0."""
    samples: int
    """How many there were."""
    hash: str
    """Sum of the hashes of their ids, so that their order and who saw them does not matter."""
    chain: str
    """Hash over this line and the chain of the line before: equal chains mean equal ledgers up to here."""


def hash_ids(ids: NDArray[np.int64], part: int) -> int:
    """Sum of the hashes of ids `[n]` of a part, modulo 2^64; a hash is a step of SplitMix64 (Steele et al., 2014)."""
    mixed = ids.astype(np.uint64) + (np.uint64(part) << _PART_BITS) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return int((mixed ^ (mixed >> np.uint64(31))).sum(dtype=np.uint64))


def hash_all(sizes: Sequence[int]) -> int:
    """Sum of the hashes of all samples, each seen once."""
    total = 0
    for part, size in enumerate(sizes):
        for start in range(0, size, _IDS_AT_ONCE):
            total += hash_ids(np.arange(start, min(start + _IDS_AT_ONCE, size)), part)
    return total % 2**64


def entry_after(chain: str, *, step: int, epoch: int, samples: int, total: int) -> Entry:
    """Return the line of a step whose hashes have the sum `total`, after a line with `chain`."""
    hashed = f"{total % 2**64:016x}"
    words = f"{chain} {step} {epoch} {samples} {hashed}"
    link = hashlib.sha256(words.encode()).hexdigest()[:16]
    return Entry(step=step, epoch=epoch, samples=samples, hash=hashed, chain=link)


def read_ledger(path: Path) -> tuple[Head, list[Entry]]:
    """Read a ledger; a last line that was being written when its run was killed does not count.

    Raises:
        DataError: there is no such file, or it is no ledger.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        return Head.model_validate_json(lines[0] if lines else ""), [
            Entry.model_validate_json(line) for line in lines[1:]
        ]
    except (OSError, ValueError) as error:
        found = f"a line that is no {error.title}" if isinstance(error, ValidationError) else str(error)
        raise DataError(
            f"{path}: {found}. Expected a ledger as `train` writes it with ledger=true: name that file."
        ) from error


def write_ledger(path: Path, head: Head, entries: Sequence[Entry]) -> None:
    """Write a ledger anew."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text("".join(_lines([head, *entries])), encoding="utf-8")
    partial.replace(path)


def append_entry(path: Path, entry: Entry) -> None:
    """Add a line."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(_lines([entry]))


def _lines(models: Sequence[BaseModel]) -> Iterator[str]:
    for model in models:
        yield json.dumps(model.model_dump()) + "\n"
