"""Channels of text, or of one long row of tokens, as samples of equal length: cut once a host, into the scratch folder.

    a.txt  b.txt            END a... END b... END          every text begins and ends with END
    text fields             likewise, a text a record
    tokens [n]              as they are
                            └── rows of context + 1 tokens, each beginning with the last token of the one before

So each token is predicted once an epoch. The last row reaches back, to be as long as the others.
"""

import codecs
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..models.gpt_text import END
from ..stream.catalog import Host, open_dataset
from ..stream.dataset import Dataset
from ..stream.files import File, list_files

TEXT_TYPE = "text/plain"
SUFFIXES = (".txt", ".text", ".md", ".rst")
"""Ends of the names of files that are texts; others where the channel's ContentType is `text/plain`."""
FIELDS = ("text", "content")
"""Names of the field that holds a record's text."""
_CHUNK_BYTES = 1 << 20
_RECORDS = 1024
_TEXTS, _TOKENS = "texts", "tokens"

Tokens = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Cut:
    """A channel after it was cut."""

    folder: Path
    """Where its rows are; the channel's own folder if they were rows already."""
    is_text: bool
    """Whether tokens are bytes of text."""


def cut(
    folder: Path, context: int, *, channel: str, host: Host, content_type: str | None = None, may_be_empty: bool = False
) -> Cut:
    """Cut a channel into rows of `context + 1` tokens, unless it holds rows of tokens; call it on every rank.

    Raises:
        DataError: no text and no tokens, a text that is no UTF-8, or fewer tokens than a row takes.
    """
    made = {name: host.scratch / name for name in (_TEXTS, _TOKENS)}
    if host.leads:
        for target in made.values():
            shutil.rmtree(target, ignore_errors=True)
        files = list_files(folder)
        if files and all(_is_text(file, content_type) for file in files):
            _write(made[_TEXTS], _of_files(files, channel), context, channel)
        else:
            own = Host(host.scratch / "records")
            dataset = open_dataset(
                folder, channel=channel, host=own, content_type=content_type, may_be_empty=may_be_empty
            )
            name, parts = _of_dataset(dataset)
            if name:
                _write(made[name], parts, context, channel)
    host.barrier()
    for name, target in made.items():
        if target.is_dir():
            return Cut(target, name == _TEXTS)
    return Cut(folder, is_text=False)


def _of_dataset(dataset: Dataset) -> tuple[str, Iterator[Tokens]]:
    """Find out by the first record whether records are texts or single tokens; else there is nothing to cut."""
    if not len(dataset):
        return "", iter(())
    first, _ = dataset.read(np.zeros(1, dtype=np.int64))
    field = next((name for name in FIELDS if isinstance(first.get(name), list)), None)
    if field is not None:
        return _TEXTS, _of_records(dataset, field)
    whole = [name for name, column in first.items() if isinstance(column, np.ndarray) and column.dtype.kind in "iu"]
    if len(whole) == 1 and np.size(first[whole[0]]) == 1:
        return _TOKENS, _of_numbers(dataset, whole[0])
    return "", iter(())


def _is_text(file: File, content_type: str | None) -> bool:
    if content_type is not None:
        return content_type.partition(";")[0].strip() == TEXT_TYPE
    return file.name.lower().endswith(SUFFIXES)


def _of_files(files: Iterable[File], channel: str) -> Iterator[Tokens]:
    end = np.array([END], dtype=np.int32)
    for file in files:
        yield end
        decoder, offset = codecs.getincrementaldecoder("utf-8")(), 0
        with file.path.open("rb") as content:
            while True:
                chunk = content.read(_CHUNK_BYTES)
                try:
                    decoder.decode(chunk, final=not chunk)
                except UnicodeDecodeError as error:
                    held = len(error.object) - len(chunk)
                    raise DataError(
                        f"Channel {channel!r}, file {file.name}: byte {offset - held + error.start} is no UTF-8 "
                        f"({error.reason}). Expected text: convert the file to UTF-8."
                    ) from error
                if not chunk:
                    break
                offset += len(chunk)
                yield np.frombuffer(chunk, dtype=np.uint8).astype(np.int32)
    yield end


def _of_records(dataset: Dataset, field: str) -> Iterator[Tokens]:
    end = np.array([END], dtype=np.int32)
    for start in range(0, len(dataset), _RECORDS):
        columns, _ = dataset.read(np.arange(start, min(start + _RECORDS, len(dataset))))
        for row, text in enumerate(columns.get(field, [])):
            if not isinstance(text, str):
                raise DataError(f"{dataset.place(start + row)}: field {field!r} is {text!r:.40}. Expected a text.")
            yield end
            yield np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8).astype(np.int32)
    yield end


def _of_numbers(dataset: Dataset, field: str) -> Iterator[Tokens]:
    for start in range(0, len(dataset), _CHUNK_BYTES):
        columns, _ = dataset.read(np.arange(start, min(start + _CHUNK_BYTES, len(dataset))))
        yield np.asarray(columns[field]).reshape(-1).astype(np.int32)


def _write(target: Path, parts: Iterable[Tokens], context: int, channel: str) -> None:
    """Write tokens as rows by way of one long file, so that memory stays constant; the folder appears whole."""
    partial = target.with_name(f".{target.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    long = partial / "long"
    with long.open("wb") as file:
        for part in parts:
            file.write(part.tobytes())
    count = long.stat().st_size // np.dtype(np.int32).itemsize
    if count <= context:
        raise DataError(
            f"Channel {channel!r} has {count} tokens. Expected at least one row of context + 1 = {context + 1}: lower "
            f"'context', or add text."
        )
    tokens = np.memmap(long, dtype=np.int32, mode="r")
    rows = -(-(count - 1) // context)
    table = np.lib.format.open_memmap(partial / "rows.npy", mode="w+", dtype=np.int32, shape=(rows, context + 1))
    for row in range(rows):
        start = min(row * context, count - context - 1)
        table[row] = tokens[start : start + context + 1]
    table.flush()
    del table, tokens
    long.unlink()
    partial.rename(target)
