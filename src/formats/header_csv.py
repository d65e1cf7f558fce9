"""CSV with a header line: named columns of numbers or of text, quoted as RFC 4180 has it, but one row a line.

    age,city,income       ->   {"age": float32[n], "city": ["Bern", ...], "income": float32[n]}
    41,"Bern",5.5

A first line is a header when each field of it has a letter, none is a number and none is there twice; `csv` has numbers
in every line. Which columns are text is decided once, by the first lines of a file, and holds for the rest of it.
"""

import csv as standard
from collections.abc import Collection, Sequence

from ..errors import FormatError
from . import csv
from .rows import Columns, Rows, count

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MAX_HEADER = 1 << 20
_LOOKED_AT = 1000


def header(data: bytes) -> list[str] | None:
    """Names of the columns if the first line of a file is a header, else None.

    Args:
        data: start of the file; a first line that does not end within the first megabyte is none.
    """
    end = data.find(b"\n", 0, _MAX_HEADER)
    line = data[: len(data) if end < 0 else end].removeprefix(_BYTE_ORDER_MARK)
    if len(line) >= _MAX_HEADER:
        return None
    try:
        (fields,) = _split([line.decode().rstrip("\r")], 1)
    except (UnicodeDecodeError, FormatError):
        return None
    names = [field.strip() for field in fields]
    odd = any(csv.is_number(name) or not _is_name(name) for name in names)
    return None if odd or len(set(names)) < len(names) else names


def text_columns(data: bytes, names: Sequence[str], *, first_line: int = 2) -> frozenset[str]:
    """Columns that hold text, by the first lines: with any field that is neither a number nor missing.

    Args:
        data: start of a file without its header; a last line cut short does no harm when others are there.
        names: names of all columns.
        first_line: number of the first line of `data` in its file, for messages.
    """
    lines = data.split(b"\n", _LOOKED_AT + 1)
    whole = lines[:-1] if len(lines) > 1 else lines
    text: set[str] = set()
    for row in _rows(b"\n".join(whole[:_LOOKED_AT]), len(names), first_line):
        text.update(name for name, field in zip(names, row, strict=True) if field.strip() and not csv.is_number(field))
    return frozenset(text)


def decode(data: bytes, names: Sequence[str], text: Collection[str] = (), *, first_line: int = 2) -> Columns:
    """Read rows of named values.

    Args:
        data: whole lines, without the header.
        names: names of all columns, in order.
        text: those of them that hold text, see `text_columns`.
        first_line: number of the first line of `data` in its file, for messages.

    Returns:
        Array `[rows]` of finite float32 for each column of numbers, a list of str for each of text.

    Raises:
        FormatError: names line and column.
    """
    if not text:
        rows = csv.decode(data, first_line=first_line, columns=len(names))
        return {name: rows[:, place].copy() for place, name in enumerate(names)}
    columns = list(zip(*_rows(data, len(names), first_line), strict=True)) or [()] * len(names)
    return {
        name: list(column) if name in text else _numbers(column, name, place, first_line)
        for place, (name, column) in enumerate(zip(names, columns, strict=True), start=1)
    }


def encode(columns: Columns) -> bytes:
    """Write a header and one line a row; columns are one-dimensional."""
    quoted = [[_quoted(value) for value in column] for column in columns.values()]
    lines = [",".join(map(_quoted, columns)), *map(",".join, zip(*quoted, strict=True))]
    return "".join(f"{line}\n" for line in lines).encode()


def _is_name(text: str) -> bool:
    """Whether a field could be a name: it has a letter, and nothing that separates columns in other dialects."""
    return text.isprintable() and ";" not in text and any(map(str.isalpha, text))


def _rows(data: bytes, columns: int, first_line: int) -> list[list[str]]:
    try:
        content = data.rstrip().decode()
    except UnicodeDecodeError as error:
        line = first_line + data.count(b"\n", 0, error.start)
        raise FormatError(f"line {line} is not UTF-8: {error.reason}. Write the file in UTF-8.") from error
    rows = _split(content.replace("\r\n", "\n").split("\n"), first_line) if content else []
    for line, row in enumerate(rows, start=first_line):
        if len(row) != columns:
            found = f"has {count((len(row),))}" if row and row != [""] else "is empty"
            raise FormatError(f"line {line} {found}, expected {columns}, one for each name of the header.")
    return rows


def _split(lines: list[str], first_line: int) -> list[list[str]]:
    """Fields of each line."""
    rows: list[list[str]] = []
    for line, content in enumerate(lines, start=first_line):
        if '"' not in content and "\r" not in content:
            rows.append(content.split(","))
            continue
        try:
            rows.append(next(standard.reader([content], strict=True, skipinitialspace=True)))
        except (standard.Error, StopIteration) as error:
            raise FormatError(
                f"line {line}: {error}. Close every quote in its own line, and double a quote within quotes."
            ) from error
    return rows


def _numbers(column: Sequence[str], name: str, place: int, first_line: int) -> Rows:
    """One column as numbers; a mistake is looked for again field by field, to name it."""
    try:
        rows = csv.decode("\n".join(column).encode(), first_line=2, columns=1)[:, 0]
        if len(rows) == len(column):
            return rows
    except FormatError:
        pass
    for line, field in enumerate(column, start=first_line):
        try:
            csv.number(field, line, place, ",")
        except FormatError as error:
            raise FormatError(f"{error} The column is {name!r}.") from error
    raise FormatError(f"column {name!r}, from line {first_line} on: not a number in every line.")


def _quoted(value: object) -> str:
    text = str(value)
    return '"' + text.replace('"', '""') + '"' if set(text) & set('",\r\n') or text != text.strip() else text
