"""Rows of a request or an answer in formats of named columns: NPZ, RecordIO-protobuf, Parquet and LibSVM.

Which columns are the model's values? All but `label` and texts: a row of training data can be sent as it is. One column
holds whole rows; several hold a value each, in their order.
"""

import io
import math
from collections.abc import Mapping

import numpy as np

from ..errors import FormatError
from . import aialgs, libsvm, npz
from .json_rows import KEYS
from .rows import Column, Columns, Labels, Rows, RowShape, count, first_not_finite, to_float32

_LABEL = "label"


def decode_npz(data: bytes, row_shape: RowShape | None = None) -> Rows:
    """Read rows `[rows, *row_shape]` of an NPZ file; of several arrays the one called `instances` or `inputs` counts.

    Raises:
        FormatError: broken, or of another shape, or a value is not finite.
    """
    arrays = npz.decode(np.frombuffer(data, dtype=np.uint8), checksums=True)
    named = next((key for key in KEYS if key in arrays), None)
    return _rows({named: arrays[named]} if named else dict(arrays), row_shape)


def encode_npz(values: Rows, labels: Labels | None = None) -> bytes:
    """Write the arrays `predictions` and, where there are any of numbers, `labels`."""
    arrays = {"predictions": values}
    found = np.asarray(labels if labels is not None else [])
    return npz.encode({**arrays, "labels": found} if found.size and found.dtype.kind in "iu" else arrays)


def decode_recordio(data: bytes, row_shape: RowShape | None = None) -> Rows:
    """Read RecordIO-protobuf, as SageMaker's built-in algorithms take it.

    Raises:
        FormatError: broken, records of different fields, or of another shape, or a value is not finite.
    """
    index = aialgs.index(np.frombuffer(data, dtype=np.uint8))
    view = memoryview(data)
    samples = [
        aialgs.decode(view[start:stop]) for start, stop in zip(index.starts.tolist(), index.stops.tolist(), strict=True)
    ]
    for number, sample in enumerate(samples):
        if sample.keys() != samples[0].keys():
            raise FormatError(
                f"record {number} has the fields {', '.join(sample)}, record 0 {', '.join(samples[0])}. Expected the "
                f"same in each."
            )
    columns: Columns = {name: [sample[name] for sample in samples] for name in (samples[0] if samples else ())}
    return _rows(columns, row_shape)


def encode_recordio(values: Rows, labels: Labels | None = None) -> bytes:
    """Write a record a row: `score` among its labels and, where classes are numbers, `predicted_label`.

    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/LL-in-formats.html
    """
    records = []
    for number, row in enumerate(values):
        sample: dict[str, object] = {"label/score": np.atleast_1d(row)}
        if labels is not None and not isinstance(labels[number], str):
            sample["label/predicted_label"] = np.array([labels[number]], dtype=np.float32)
        records.append(aialgs.encode(sample))  # type: ignore[arg-type]
    return b"".join(records)


def decode_parquet(data: bytes, row_shape: RowShape | None = None) -> Rows:
    """Read the rows of a Parquet file.

    Raises:
        FormatError: broken, or of another shape, or a value is null or not finite.
    """
    # Not at the top: pyarrow takes longer to import than all the rest of a server.
    from . import parquet  # noqa: PLC0415

    source = parquet.open_file(data)
    groups = [source.group(number) for number in range(len(source.group_rows))]
    columns: Columns = {
        name: [value for group in groups for value in group[name]] for name in (groups[0] if groups else ())
    }
    return _rows(columns, row_shape)


def encode_parquet(values: Rows, labels: Labels | None = None) -> bytes:
    """Write the columns `predictions` and, where there are any, `labels`."""
    from . import parquet  # noqa: PLC0415

    columns: Columns = {"predictions": np.ascontiguousarray(values)}
    if labels is not None:
        columns["labels"] = [str(label) for label in labels] if isinstance(labels[0], str) else np.asarray(labels)
    file = io.BytesIO()
    writer = parquet.Writer(file)
    writer.write(columns)
    writer.close()
    return file.getvalue()


def decode_libsvm(data: bytes, row_shape: RowShape | None = None, first_line: int = 1) -> Rows:
    """Read lines of `index:value`, indices from 1, with or without a label in front.

    Raises:
        FormatError: names the line.
    """
    lines = [
        line if not line.strip() or b":" not in line.split(None, 1)[0] else b"0 " + line
        for line in data.rstrip().split(b"\n")
    ]
    body = b"\n".join(lines)
    width = math.prod(row_shape) if row_shape else libsvm.width_of(body)
    rows = libsvm.decode(body, width, first_line=first_line)["features"]
    return rows.reshape(-1, *row_shape) if row_shape else rows


def _rows(columns: Mapping[str, Column], row_shape: RowShape | None) -> Rows:
    """Put columns together to rows of finite float32."""
    chosen = {name: column for name, column in columns.items() if name != _LABEL and not _is_text(column)}
    if not chosen:
        if columns and any(len(column) for column in columns.values()):
            raise FormatError(f"Found the columns {', '.join(columns)[:200]}, expected one with the model's values.")
        return np.empty((0, *(row_shape or (0,))), dtype=np.float32)
    arrays = {name: _array(name, column) for name, column in chosen.items()}
    if len(arrays) == 1:
        ((name, array),) = arrays.items()
    else:
        name = f"{len(arrays)} columns"
        array = np.concatenate([values.reshape(len(values), -1) for values in arrays.values()], axis=1)
    shape = row_shape or array.shape[1:] or (1,)
    if math.prod(array.shape[1:]) != math.prod(shape) or (array.ndim > 2 and array.shape[1:] != shape):
        raise FormatError(f"{name}: rows of {count(array.shape[1:] or (1,))}, expected {count(shape)}.")
    rows = to_float32(array).reshape(len(array), *shape)
    where = first_not_finite(rows)
    if where is not None:
        raise FormatError(f"row {where[0]}, value {list(where[1:])}: expected a finite number that fits float32.")
    return rows


def _array(name: str, column: Column) -> Rows:
    try:
        array = np.asarray(column) if isinstance(column, np.ndarray) else np.stack([np.asarray(row) for row in column])
    except ValueError as error:
        raise FormatError(f"{name!r} has rows of several shapes. Expected one shape for all.") from error
    if array.dtype.kind not in "biuf":
        raise FormatError(f"{name!r} holds {array.dtype}, expected numbers.")
    return array


def _is_text(column: Column) -> bool:
    return isinstance(column, list) and bool(column) and isinstance(column[0], str | bytes)
