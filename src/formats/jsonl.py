"""JSON Lines: one JSON value a line, each line one row in any of the forms that `json_rows` takes.

Blank lines at the end are ignored, elsewhere refused: an answer has one line for each line of the request.
"""

import numpy as np
import orjson

from ..errors import FormatError
from .json_rows import rows_of
from .rows import Labels, Rows, RowShape


def decode_rows(data: bytes, row_shape: RowShape | None = None) -> Rows:
    """Read rows `[rows, *row_shape]`; without `row_shape` the first line gives it.

    Raises:
        FormatError: names the line, e.g. `line 4: 63 values, expected 64`, and counts values in a line from 0.
    """
    data = data.rstrip()
    lines = data.split(b"\n") if data else []
    items = [_parse(line, number) for number, line in enumerate(lines, start=1)]
    return rows_of(items, row_shape, lambda index: f"line {index + 1}")


def encode(values: Rows, labels: Labels | None = None) -> bytes:
    """Write one object a row: `{"prediction": ...}`, with `"label"` when there are any.

    A value that is not finite becomes null.
    """
    if not len(values):
        return b""
    json = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)
    rows = json[1:-1].split(b",") if values.ndim == 1 else [b"[" + row + b"]" for row in json[2:-2].split(b"],[")]
    if labels is None:
        return b"".join(b'{"prediction":' + row + b"}\n" for row in rows)
    ends = [b',"label":' + orjson.dumps(label) + b"}\n" for label in labels]
    return b"".join(b'{"prediction":' + row + end for row, end in zip(rows, ends, strict=True))


def _parse(line: bytes, number: int) -> object:
    try:
        value: object = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if not line.strip():
            raise FormatError(f"line {number} is empty, expected one JSON value. Remove the empty line.") from error
        raise FormatError(
            f"line {number} is no JSON: {error}. Expected one row a line, such as [0.5, 1, 2], without NaN or Infinity."
        ) from error
    return value
