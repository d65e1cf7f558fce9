r"""LibSVM: `LABEL INDEX:VALUE INDEX:VALUE ...`, one row a line, indices from 1 and rising, values left out are 0.

Lines end in LF or CRLF; blank lines at the end are ignored, elsewhere refused; what follows a `#` is a remark. Rows
become dense, since that is what the models take: `width` says how many values, and `width_of` finds it in a first pass.

As with CSV, orjson reads the numbers: a block without remarks or odd spacing becomes one JSON list, once the order of
blanks and colons shows that it has the right form. Any other block is read again field by field, which also finds the
place of a mistake. Source: https://www.csie.ntu.edu.tw/~cjlin/libsvm, README, "Input format".
"""

import re
from collections.abc import Iterator

import numpy as np
import orjson
from numpy.typing import NDArray

from ..errors import FormatError
from .rows import Rows, first_not_finite, to_float32

MAX_WIDTH = 1 << 24
"""Largest index accepted."""
MAX_VALUES = 1 << 28
"""Most values of one dense block: 1 GiB."""

_BLOCK = 1 << 18
_PLAIN = b"0123456789.-+eE: \n"
_TO_COMMAS = bytes.maketrans(b" :\n", b",,,")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INDEX = re.compile(r"[0-9]{1,18}")
_Entries = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]


def decode(data: bytes, width: int, *, first_line: int = 1) -> dict[str, Rows]:
    """Read rows of a known width.

    Args:
        data: whole lines; nothing but blanks gives no rows.
        width: values of each row, the label apart; no index may be larger.
        first_line: number of the first line of `data` in its file, for messages.

    Returns:
        `label` `[rows]` and `features` `[rows, width]` of finite float32.

    Raises:
        FormatError: names the line.
    """
    parts = list(blocks(data, width, first_line=first_line))
    if len(parts) == 1:
        return parts[0]
    empty = {"label": np.empty(0, np.float32), "features": np.empty((0, width), np.float32)}
    return {name: np.concatenate([part[name] for part in [empty, *parts]]) for name in empty}


def blocks(data: bytes, width: int, *, first_line: int = 1) -> Iterator[dict[str, Rows]]:
    """Read as `decode` does, a quarter of a megabyte of text at a time: dense rows may be far larger than that."""
    for block, line in _blocks(data, first_line):
        labels, row, index, value = _entries(block, line, width)
        if len(labels) * width > MAX_VALUES:
            raise FormatError(
                f"line {line}: {len(labels)} rows of {width} values are more than {MAX_VALUES} values at once. Data "
                f"this sparse do not fit a dense model: reduce the features."
            )
        features = np.zeros((len(labels), width), np.float32)
        features[row, index - 1] = value
        yield {"label": labels, "features": features}


def width_of(data: bytes, *, first_line: int = 1) -> int:
    """Largest index in `data`, 0 without any; checks everything that `decode` checks."""
    return max(
        (int(_entries(block, line, None)[2].max(initial=0)) for block, line in _blocks(data, first_line)), default=0
    )


def encode(label: Rows, features: Rows) -> bytes:
    """Write `label` `[rows]` and `features` `[rows, width]`, zeros left out, in the shortest digits that read back."""
    lines = []
    for number, row in zip(label.tolist(), features, strict=True):
        places = np.flatnonzero(row)
        entries = "".join(f" {place + 1}:{value!s}" for place, value in zip(places.tolist(), row[places], strict=True))
        lines.append(f"{np.float32(number)!s}{entries}\n")
    return "".join(lines).encode()


def _blocks(data: bytes, first_line: int) -> list[tuple[bytes, int]]:
    """Pieces of whole lines, with the number of the first line of each."""
    data = data.rstrip()
    blocks = []
    start = 0
    while start < len(data):
        end = data.find(b"\n", start + _BLOCK)
        end = len(data) if end < 0 else end
        blocks.append((data[start:end], first_line))
        first_line += data.count(b"\n", start, end) + 1
        start = end + 1
    return blocks


def _entries(block: bytes, first_line: int, width: int | None) -> _Entries:
    """Labels `[rows]`, and for each value given its row from 0, its index from 1, and itself `[values]`."""
    entries = _by_json(block.replace(b"\r\n", b"\n").replace(b" \n", b"\n").rstrip(b" \r"))
    if entries is not None:
        _, row, index, _ = entries
        falling = (np.diff(index) <= 0) & (np.diff(row) == 0)
        limit = MAX_WIDTH if width is None else width
        if not len(index) or (index.min() >= 1 and index.max() <= limit and not falling.any()):
            return entries
    return _by_field(block, first_line, width)


def _by_json(block: bytes) -> _Entries | None:
    """Read a block of the plain form at once; None: it is not plain."""
    if block.translate(None, _PLAIN):
        return None
    block = block.replace(b"\n+", b"\n").removeprefix(b"+")
    characters = np.frombuffer(block, np.uint8)
    blanks, colons, ends = (characters == ord(sign) for sign in " :\n")
    kinds = characters[np.flatnonzero(blanks | colons | ends)]
    after = np.append(kinds[1:], ord("\n"))
    if ((kinds == ord(" ")) != (after == ord(":"))).any() or (len(kinds) and kinds[0] == ord(":")):
        return None
    try:
        numbers = np.array(orjson.loads(b"[" + block.translate(_TO_COMMAS) + b"]"), np.float64)
    except (orjson.JSONDecodeError, OverflowError):
        return None
    if len(numbers) != len(kinds) + 1:
        return None
    is_label = np.concatenate(([True], kinds == ord("\n")))
    is_index = np.concatenate(([False], kinds == ord(" ")))
    is_value = np.concatenate(([False], kinds == ord(":")))
    row = (np.cumsum(is_label) - 1)[is_index]
    index = numbers[is_index]
    labels, values = to_float32(numbers[is_label]), to_float32(numbers[is_value])
    odd = (index != np.floor(index)) | (np.abs(index) > MAX_WIDTH)
    if first_not_finite(labels) or first_not_finite(values) or odd.any():
        return None
    return labels, row, index.astype(np.int64), values


def _by_field(block: bytes, first_line: int, width: int | None) -> _Entries:
    """Read field by field: slower, takes every spelling, and knows where it is."""
    labels: list[float] = []
    rows: list[int] = []
    indices: list[int] = []
    values: list[float] = []
    for row, content in enumerate(block.decode("utf-8", "backslashreplace").split("\n")):
        line = first_line + row
        label, *fields = content.partition("#")[0].split() or [""]
        if not label:
            raise FormatError(f"line {line} is empty, expected LABEL INDEX:VALUE ... Remove the empty line.")
        labels.append(_number(label, f"line {line}: the label", content))
        last = 0
        for field in fields:
            last = _index(field, last, width, line)
            rows.append(row)
            indices.append(last)
            values.append(_number(field.partition(":")[2], f"line {line}: the value at index {last}", content))
    return to_float32(labels), np.array(rows, np.int64), np.array(indices, np.int64), to_float32(values)


def _index(field: str, last: int, width: int | None, line: int) -> int:
    text, colon, _ = field.partition(":")
    if text == "qid":
        raise FormatError(
            f"line {line}: {_shown(field)} groups rows for ranking, which no model here does. Leave it out."
        )
    if not colon or not _INDEX.fullmatch(text):
        raise FormatError(f"line {line}: found {_shown(field)}, expected INDEX:VALUE such as 3:0.5.")
    index = int(text)
    if index == 0:
        raise FormatError(f"line {line}: found index 0, expected indices from 1. Add one to every index.")
    if index <= last:
        raise FormatError(f"line {line}: index {index} follows {last}, expected rising indices. Sort each line.")
    if index > (MAX_WIDTH if width is None else width):
        raise FormatError(
            f"line {line}: found index {index}, expected at most {MAX_WIDTH if width is None else width}"
            f"{'' if width is None else ', the number of features'}."
        )
    return index


def _number(text: str, what: str, content: str) -> float:
    if _NUMBER.fullmatch(text):
        number = float(text)
        if abs(number) <= float(np.finfo(np.float32).max):
            return number
        raise FormatError(f"{what} is {_shown(text)}, too large for float32. Scale the values down.")
    hint = " It looks like CSV: set the ContentType of the channel to text/csv." if "," in content else ""
    raise FormatError(f"{what} is {_shown(text)}, expected a finite number.{hint}")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
