"""Tables of text by ranges of lines, so that many processes read parts of one file.

All files, laid end to end, are one run of bytes; a line belongs to the range that its first byte is in.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..errors import DataError, FormatError
from ..formats import csv, header_csv, jsonl, libsvm
from ..formats.sniff import Kind
from ..formats.table import parameter
from ..stream.files import File
from ..stream.rows import sound, stated_width, stop
from ..stream.shards import BadRecords, Columns

KINDS = frozenset({Kind.CSV, Kind.CSV_HEADER, Kind.JSON_LINES, Kind.LIBSVM})
BLOCK_BYTES = 1 << 20
"""Bytes of text that are parsed at once."""
MAX_LINE = 1 << 28
"""Longest line, in bytes."""
_HEAD_BYTES = 1 << 20

Parse = Callable[[bytes, int], Columns]
"""Parses whole lines; the second argument is the number of the first of them in its file."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What has to be known about all files before a part of one can be parsed."""

    kind: Kind
    names: tuple[str, ...] = ()
    """Columns of a CSV with a header, names of a JSON object."""
    text: tuple[str, ...] = ()
    """Those of them that hold text."""
    width: int = 0
    """Of CSV without a header: values of a line; of LibSVM: the largest index."""
    label: bool = True
    """Whether the first value of a CSV without a header is the label."""


class TextTable:
    """Lines of the files of a channel."""

    def __init__(self, files: list[File], facts: Facts, bad: BadRecords) -> None:
        self._files, self._facts, self._bad = files, facts, bad
        self._parse = parser(facts)
        self._ends = np.cumsum([file.size for file in files], dtype=np.int64)
        self.size = int(self._ends[-1]) if files else 0
        """Bytes of all files."""

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, Columns]]:
        """Yield the lines whose first byte is in [start, stop): how far this came, in bytes, and the columns.

        Raises:
            DataError: names file and line, unless broken records are skipped.
        """
        for file, end in zip(self._files, self._ends.tolist(), strict=True):
            first = end - file.size
            if first < stop and end > start:
                for place, columns in self._file_blocks(file, max(start - first, 0), min(stop - first, file.size)):
                    yield first + place, columns

    def _file_blocks(self, file: File, start: int, stop: int) -> Iterator[tuple[int, Columns]]:
        lines = 1
        for place, content in _chunks(file, start, stop):
            body = content
            if place == 0 and self._facts.kind is Kind.CSV_HEADER:
                names = header_csv.header(content)
                if names is None or tuple(names) != self._facts.names:
                    raise DataError(
                        f"File {file.name}: its header is {content[:200].split(bytes([10]))[0]!r}, that of the first "
                        f"file {','.join(self._facts.names)[:200]!r}. Expected the same columns in every file."
                    )
                body = content.partition(b"\n")[2]
                lines = 2
            if not body.strip():
                continue
            columns = self._parsed(file, body, place, lines)
            if columns:
                yield place + len(content), columns

    def _parsed(self, file: File, body: bytes, place: int, lines: int) -> Columns:
        try:
            # Lines are numbered from the start of the file, which is worth counting only once one is broken.
            return self._parse(body, lines if place == 0 else 2)
        except FormatError:
            first = lines if place == 0 else 1 + _lines_before(file, place)
        return self._without_broken_lines(file, body, first)

    def _without_broken_lines(self, file: File, body: bytes, first: int) -> Columns:
        """Parse what is broken somewhere, and report what is."""
        good = sound(self._parse, body, first, partial(self._bad.found, file.name))
        if not good.strip():
            return {}
        try:
            return self._parse(good, first)
        except FormatError as error:
            raise DataError(f"File {file.name}, from line {first} on: {error}") from error


def learn(files: list[File], kind: Kind, content_type: str | None) -> Facts:
    """Find out what must be the same for every part of the input.

    Raises:
        DataError: the first lines are broken, or hold nothing.
    """
    first = next((file for file in files if file.size), None)
    if first is None:
        raise DataError(f"File {files[0].name} and all others are empty. Expected rows.")
    head = _head(first)
    try:
        if kind is Kind.CSV_HEADER:
            names = header_csv.header(head) or []
            rows = sound(lambda data, line: header_csv.text_columns(data, names, first_line=line), *_body(head), stop)
            text = header_csv.text_columns(rows, names)
            return Facts(kind, tuple(names), tuple(sorted(text)))
        if kind is Kind.LIBSVM:
            return Facts(kind, width=stated_width(content_type) or max(_widths(files)))
        if kind is Kind.JSON_LINES:
            first_line = head.lstrip().partition(b"\n")[0]
            return Facts(kind, tuple(jsonl.decode_columns(first_line)))
        labelled = parameter(content_type or "", "label_size") != "0"
        rows = sound(lambda data, line: csv.decode(data, first_line=line), head, 1, stop)
        return Facts(kind, width=csv.decode(rows).shape[1], label=labelled)
    except FormatError as error:
        raise DataError(f"File {first.name}: {error}") from error


def parser(facts: Facts) -> Parse:
    """The function that parses lines of this kind."""
    if facts.kind is Kind.CSV_HEADER:
        return lambda data, line: header_csv.decode(data, facts.names, facts.text, first_line=line)
    if facts.kind is Kind.LIBSVM:
        return lambda data, line: dict(libsvm.decode(data, facts.width, first_line=line))
    if facts.kind is Kind.JSON_LINES:
        return lambda data, line: _parse_json(data, line, facts)
    return lambda data, line: _parse_csv(data, line, facts)


def _parse_csv(data: bytes, line: int, facts: Facts) -> Columns:
    rows = csv.decode(data, first_line=line, columns=facts.width)
    return {"label": rows[:, 0], "features": rows[:, 1:]} if facts.label and facts.width > 1 else {"features": rows}


def _parse_json(data: bytes, line: int, facts: Facts) -> Columns:
    columns = jsonl.decode_columns(data, first_line=line)
    if columns and set(columns) != set(facts.names):
        raise FormatError(
            f"line {line}: the names {', '.join(columns)[:200]}, expected those of the first line: "
            f"{', '.join(facts.names)[:200]}. Give all lines the same names."
        )
    return {name: columns[name] for name in facts.names} if columns else {}


def _widths(files: list[File]) -> Iterator[int]:
    yield 1
    for file in files:
        line = 1
        for _, content in _chunks(file, 0, file.size):
            try:
                yield libsvm.width_of(content, first_line=line)
            except FormatError:
                # Reading will stop there, or skip it: here only the good lines count.
                yield max((_width_of_line(part) for part in content.split(b"\n")), default=1)
            line += content.count(b"\n")


def _width_of_line(line: bytes) -> int:
    try:
        return libsvm.width_of(line + b"\n")
    except FormatError:
        return 1


def _body(head: bytes) -> tuple[bytes, int]:
    """What comes after the header, and the number of its first line."""
    return head.partition(b"\n")[2], 2


def _head(file: File) -> bytes:
    with file.path.open("rb") as handle:
        head = handle.read(_HEAD_BYTES)
    return head if len(head) < _HEAD_BYTES else head[: head.rfind(b"\n") + 1 or len(head)]


def _lines_before(file: File, place: int) -> int:
    lines = 0
    with file.path.open("rb") as handle:
        while place > 0 and (content := handle.read(min(place, BLOCK_BYTES))):
            lines += content.count(b"\n")
            place -= len(content)
    return lines


def _chunks(file: File, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
    """Yield whole lines that begin in [start, stop), about a block at a time, with the place of the first byte."""
    try:
        with file.path.open("rb") as handle:
            if start:
                handle.seek(start - 1)
                handle.readline(MAX_LINE)
            place = handle.tell()
            while place < stop:
                content = handle.read(min(BLOCK_BYTES, stop - place))
                if not content:
                    raise DataError(
                        f"File {file.name} ends at byte {place} and had {file.size} bytes. Expected files that stay "
                        f"as they are while they are read."
                    )
                if not content.endswith(b"\n"):
                    content += handle.readline(MAX_LINE)
                    if not content.endswith(b"\n") and place + len(content) < file.size:
                        raise DataError(
                            f"File {file.name}: a line longer than {MAX_LINE} bytes near byte {place}. It is no table."
                        )
                yield place, content
                place += len(content)
    except OSError as error:
        raise DataError(
            f"File {file.name} cannot be read any more ({error.strerror or error}). Expected files that stay."
        ) from error
