"""The one table of formats, from a content type or a file's name to a decoder and an encoder."""

from collections.abc import Callable
from dataclasses import dataclass

from . import column_rows, csv, json_rows, jsonl, npy
from .rows import Labels, Rows, RowShape


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write rows as bytes."""

    name: str
    """What people call it, for messages."""
    media_types: tuple[str, ...]
    """Its names in Content-Type and Accept headers, the usual one first."""
    suffixes: tuple[str, ...]
    """Ends of the names of its files."""
    decode_rows: Callable[[bytes, RowShape | None], Rows]
    """Read rows `[rows, *row_shape]`; raises FormatError."""
    encode: Callable[[Rows, Labels | None], bytes] | None
    """Write an answer `[rows]` or `[rows, columns]`, with a label for each row if there are any; None: never."""
    decode_lines: Callable[[bytes, RowShape | None, int], Rows] | None = None
    """As `decode_rows`, of lines of which the first has a number, for messages; None where rows are no lines."""


JSON = Format("JSON", ("application/json",), (".json",), json_rows.decode_rows, json_rows.encode)
CSV = Format("CSV", ("text/csv",), (".csv",), csv.decode_rows, csv.encode, csv.decode_rows)
JSON_LINES = Format(
    "JSON Lines",
    ("application/jsonlines", "application/x-jsonlines"),
    (".jsonl", ".jsonlines"),
    jsonl.decode_rows,
    jsonl.encode,
    jsonl.decode_rows,
)
NPY = Format("NPY", ("application/x-npy",), (".npy",), npy.decode_rows, npy.encode)

NPZ = Format("NPZ", ("application/x-npz",), (".npz",), column_rows.decode_npz, column_rows.encode_npz)
RECORDIO = Format(
    "RecordIO-protobuf",
    ("application/x-recordio-protobuf",),
    (".rec", ".recordio"),
    column_rows.decode_recordio,
    column_rows.encode_recordio,
)
PARQUET = Format(
    "Parquet",
    ("application/x-parquet", "application/vnd.apache.parquet"),
    (".parquet",),
    column_rows.decode_parquet,
    column_rows.encode_parquet,
)
LIBSVM = Format(
    "LibSVM",
    ("text/libsvm", "text/x-libsvm"),
    (".libsvm", ".svm"),
    column_rows.decode_libsvm,
    None,
    column_rows.decode_libsvm,
)


def _decode_image(data: bytes, row_shape: RowShape | None) -> Rows:
    # Not at the top: few servers see an image, and the decoders are large.
    from . import image_rows  # noqa: PLC0415

    return image_rows.decode(data, row_shape)


IMAGE = Format(
    "an image",
    ("image/jpeg", "image/png", "image/webp", "application/x-image"),
    (".jpg", ".jpeg", ".png", ".webp"),
    _decode_image,
    None,
)

FORMATS = (JSON, CSV, JSON_LINES, NPY, NPZ, RECORDIO, PARQUET, LIBSVM, IMAGE)
MEDIA_TYPES = {media_type: entry for entry in FORMATS for media_type in entry.media_types}
"""Every media type that is read."""
WRITTEN = {name: entry.encode for name, entry in MEDIA_TYPES.items() if entry.encode is not None}
"""What writes each media type that an answer can have."""


def media_type(header: str) -> str:
    """Take the media type out of a header such as `text/csv; label_size=0`, in lower case and without parameters."""
    return header.partition(";")[0].strip().lower()


def parameter(header: str, name: str) -> str | None:
    """Take a parameter out of a header, such as `0` of `label_size` out of `text/csv; label_size=0`."""
    pairs = (part.partition("=") for part in header.split(";")[1:])
    return next((value.strip() for key, _, value in pairs if key.strip().lower() == name), None)


def by_media_type(header: str) -> Format | None:
    """Find a format by a Content-Type header; parameters and case do not matter."""
    return MEDIA_TYPES.get(media_type(header))


def by_suffix(file_name: str) -> Format | None:
    """Find a format by a file's name."""
    name = file_name.lower()
    return next((entry for entry in FORMATS if name.endswith(entry.suffixes)), None)
