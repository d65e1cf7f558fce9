"""What a file is: by its content, then by the channel's ContentType, then by its name.

Content that says what it is cannot be overruled: a wrong name or ContentType is common, a wrong signature is not. Text
says less, so there ContentType and name come first. What nothing reads is named, where it is known, with what to do.
"""

import re
from collections.abc import Callable, Mapping
from enum import StrEnum

import orjson

from ..errors import FormatError
from . import aialgs, csv, header_csv, images, manifest, npy, npz, parquet, recordio, tar, tfrecord
from .layout import masked_crc
from .table import media_type


class Kind(StrEnum):
    """Kinds of files that can be read."""

    RECORDIO_PROTOBUF = "recordio-protobuf"
    RECORDIO = "recordio"
    TFRECORD = "tfrecord"
    TAR = "tar"
    PARQUET = "parquet"
    CSV = "csv"
    CSV_HEADER = "csv-header"
    JSON_LINES = "jsonl"
    LIBSVM = "libsvm"
    NPY = "npy"
    NPZ = "npz"
    IMAGE = "image"
    MANIFEST = "manifest"
    AUGMENTED_MANIFEST = "augmented-manifest"


GZIP = b"\x1f\x8b"
"""First bytes of what gzip has compressed."""
OF_MEDIA_TYPE: Mapping[str, Kind] = {
    "application/x-recordio-protobuf": Kind.RECORDIO_PROTOBUF,
    "application/x-recordio": Kind.RECORDIO,
    "application/x-tfrecord": Kind.TFRECORD,
    "application/x-tar": Kind.TAR,
    "application/x-parquet": Kind.PARQUET,
    "application/vnd.apache.parquet": Kind.PARQUET,
    "text/csv": Kind.CSV,
    "application/jsonlines": Kind.JSON_LINES,
    "application/x-jsonlines": Kind.JSON_LINES,
    "application/x-ndjson": Kind.JSON_LINES,
    "text/libsvm": Kind.LIBSVM,
    "text/x-libsvm": Kind.LIBSVM,
    "application/x-npy": Kind.NPY,
    "application/x-npz": Kind.NPZ,
    "application/x-image": Kind.IMAGE,
    "image/jpeg": Kind.IMAGE,
    "image/png": Kind.IMAGE,
}
_OF_SUFFIX: Mapping[str, Kind] = {
    ".tfrecord": Kind.TFRECORD,
    ".tfrecords": Kind.TFRECORD,
    ".tar": Kind.TAR,
    ".parquet": Kind.PARQUET,
    ".csv": Kind.CSV,
    ".jsonl": Kind.JSON_LINES,
    ".jsonlines": Kind.JSON_LINES,
    ".ndjson": Kind.JSON_LINES,
    ".libsvm": Kind.LIBSVM,
    ".svm": Kind.LIBSVM,
    ".npy": Kind.NPY,
    ".npz": Kind.NPZ,
    **dict.fromkeys(images.SUFFIXES, Kind.IMAGE),
}
_TEXT = frozenset({Kind.CSV, Kind.JSON_LINES, Kind.LIBSVM})
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"ARROW1", "an Arrow file"),
    (b"ORC", "ORC"),
    (b"Obj\x01", "Avro"),
    (b"SQLite format 3", "SQLite"),
    (b"(\xb5/\xfd", "compressed with zstd"),
    (b"BZh", "compressed with bzip2"),
    (b"\xfd7zXZ", "compressed with xz"),
    (b"PK", "a zip that is no NPZ"),
    (b"\x80\x02", "a pickle, which is never read,"),
    (b"\x80\x03", "a pickle, which is never read,"),
    (b"\x80\x04", "a pickle, which is never read,"),
    (b"\x80\x05", "a pickle, which is never read,"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"%PDF", "PDF"),
    (b"<", "XML or HTML, such as an error page saved as data,"),
)
_LIBSVM = re.compile(rb"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?(?:[ \t]+[0-9]+:[-+0-9.eE]+)+[ \t]*(?:#.*)?")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def recognise(head: bytes, name: str, content_type: str | None) -> Kind:
    """Tell what a file is.

    Args:
        head: its first bytes: 512 at least, if it has as many; the first two lines, if it is text.
        name: its name, for its suffix and for messages.
        content_type: what the channel says, if anything; types that say nothing of a format are passed over.

    Raises:
        FormatError: compressed, nothing that is read, or not what its ContentType or name says.
    """
    declared, source = _declared(name, content_type)
    found = _by_signature(head, declared)
    if found is not None:
        return found
    if head.startswith(GZIP):
        raise FormatError(
            f"{name} is compressed with gzip, expected it unpacked. The platform unpacks it in Pipe mode only, with "
            f"CompressionType Gzip: set both, or unpack the files before you upload them."
        )
    if declared in _TEXT and _is_text(head):
        return _text_as(declared, head)
    foreign = next((what for start, what in _FOREIGN if head.startswith(start)), None)
    guessed = _guess(head) if foreign is None and declared is None and _is_text(head) else None
    if guessed is not None:
        return guessed
    if not head and declared is not None:
        return declared
    raise FormatError(_unreadable(head, name, declared, source, foreign))


def _declared(name: str, content_type: str | None) -> tuple[Kind | None, str]:
    """What ContentType or, without one, the name says; and which of them said it."""
    by_type = OF_MEDIA_TYPE.get(media_type(content_type or ""))
    if by_type is not None:
        return by_type, f"ContentType {content_type!r}"
    lower = name.lower()
    return next((kind for suffix, kind in _OF_SUFFIX.items() if lower.endswith(suffix)), None), "name"


def _by_signature(head: bytes, declared: Kind | None) -> Kind | None:
    """What the first bytes leave no doubt about."""
    if head.startswith(recordio.MAGIC.to_bytes(4, "little")):
        return _recordio(head, declared)
    if declared is Kind.TAR and head and not any(head):
        return Kind.TAR
    return next((kind for kind, fits in _SIGNATURES if fits(head)), None)


def _is_npz(head: bytes) -> bool:
    """Whether a zip's first entry is an NPY file."""
    return head.startswith(npz.MAGIC) and head[30 : 30 + int.from_bytes(head[26:28], "little")].endswith(b".npy")


def _is_tfrecord(head: bytes) -> bool:
    """Whether the checksum of the first record's length fits: there is no magic number."""
    return len(head) >= tfrecord.HEADER and masked_crc(head[:8]) == int.from_bytes(head[8:12], "little")


_SIGNATURES: tuple[tuple[Kind, Callable[[bytes], bool]], ...] = (
    (Kind.NPY, lambda head: head.startswith(npy.MAGIC)),
    (Kind.PARQUET, lambda head: head.startswith(parquet.MAGIC)),
    (Kind.NPZ, _is_npz),
    (Kind.IMAGE, lambda head: images.signature(head[:12]) is not None),
    (Kind.TFRECORD, _is_tfrecord),
    (Kind.TAR, lambda head: tar.is_header(head[: tar.BLOCK])),
)


def _recordio(head: bytes, declared: Kind | None) -> Kind:
    """Whether records hold SageMaker's protobuf: as ContentType or name says, else by the first of them."""
    if declared in {Kind.RECORDIO, Kind.RECORDIO_PROTOBUF}:
        return Kind(declared)
    _, end = recordio.whole(memoryview(head))
    if not 0 < end <= len(head):
        return Kind.RECORDIO_PROTOBUF if head[8:9] in {b"\x0a", b"\x12"} else Kind.RECORDIO
    try:
        return Kind.RECORDIO_PROTOBUF if aialgs.decode(memoryview(head)[:end]) else Kind.RECORDIO
    except FormatError:
        return Kind.RECORDIO


def _is_text(head: bytes) -> bool:
    return bool(head.strip()) and not set(head) & set(b"\0\1\2\3\4\5\6\7\x0e\x0f\x7f")


def _text_as(declared: Kind, head: bytes) -> Kind:
    if declared is Kind.CSV:
        return Kind.CSV_HEADER if header_csv.header(head) else Kind.CSV
    value = _first_value(head)
    return Kind.AUGMENTED_MANIFEST if declared is Kind.JSON_LINES and manifest.is_augmented(value) else declared


def _guess(head: bytes) -> Kind | None:
    """Kind of a text of which nothing is said."""
    if re.match(rb'\s*\[\s*\{\s*"prefix"\s*:\s*"s3://', head):
        return Kind.MANIFEST
    value = _first_value(head)
    if isinstance(value, dict | list):
        return Kind.AUGMENTED_MANIFEST if manifest.is_augmented(value) else Kind.JSON_LINES
    line, _, rest = head.removeprefix(_BYTE_ORDER_MARK).partition(b"\n")
    if _LIBSVM.fullmatch(line.rstrip(b"\r")):
        return Kind.LIBSVM
    fields = line.rstrip(b"\r").decode("utf-8", "replace").split(",")
    if all(csv.is_number(field.strip().strip('"')) for field in fields):
        return Kind.CSV
    commas = rest.partition(b"\n")[0].count(b",")
    return Kind.CSV_HEADER if commas and commas == len(fields) - 1 and header_csv.header(head) else None


def _first_value(head: bytes) -> object:
    """JSON value of the first line; None if it is none."""
    try:
        value: object = orjson.loads(head.partition(b"\n")[0])
    except orjson.JSONDecodeError:
        return None
    return value


def _unreadable(head: bytes, name: str, declared: Kind | None, source: str, foreign: str | None) -> str:
    what = f"is {foreign or 'empty'}" if foreign or not head else f"starts with {head[:16]!r}"
    if declared is not None:
        return (
            f"{name} {what} but its {source} says {declared}. Correct the {source.partition(' ')[0]}, or the prefix of "
            f"the channel if other files were meant; the file may also be broken at the start."
        )
    kinds = ", ".join(kind for kind in Kind)
    return (
        f"{name} {what}, which is none of the formats that are read: {kinds}. Convert it, set the channel's "
        f"ContentType, or keep it out of the channel's prefix."
    )
