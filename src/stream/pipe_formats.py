"""How a pipe is read: from its content type and record wrapper, or its first bytes, to a framing."""

from collections.abc import Callable

from ..errors import ConfigError, FormatError
from ..formats import aialgs, csv, header_csv, images, jsonl, libsvm, npy, recordio, sniff, tfrecord
from ..formats.layout import Value, masked_crc, wrong_sum
from ..formats.sniff import Kind
from ..formats.table import media_type, parameter
from .framing import Attributes, Framed, Framing, Lines, bare, recordio_stops, records, tfrecord_stops
from .rows import stated_width
from .shards import Columns

HEAD_BYTES = 1 << 16
"""First bytes of a stream that are looked at, at most."""
_LEAST_BYTES = 64
_LEAST_LINES = 2
_LINES_BELOW_HEADER = 1000


class TooShort(Exception):
    """The head of a stream does not tell yet what it is."""


def choose(
    content_type: str | None, wrapper: str, head: bytes, attributes: tuple[str, ...] = (), *, whole: bool = True
) -> Framing:
    """Find out how a pipe is framed: by its content type, without one by its first bytes.

    Args:
        content_type: of the channel.
        wrapper: `RecordIO` if each object comes as one record, else `None`.
        head: first bytes of the stream.
        attributes: names of an augmented manifest's attributes; empty for other channels.
        whole: whether there will be no more of the head: it is as long as can be, or the stream ends with it.

    Raises:
        TooShort: more of the head is needed to tell.
        ConfigError: a type that no pipe can be read as, or LibSVM of which nobody says how wide it is.
        FormatError: what begins like nothing that is known, or like a CSV that is broken.
    """
    media = media_type(content_type or "")
    decode_object = _OBJECTS.get(media, images.decode if media.startswith("image/") else bytes)
    if attributes:
        return Attributes(attributes, decode_object)
    if wrapper == "RecordIO" and _READ.get(media) not in _FRAMED:
        name = "image" if media.startswith("image/") else "data"
        return Framed(recordio_stops, lambda record: {name: decode_object(recordio.payload(record))})
    _need(whole or len(head) >= _LEAST_BYTES)
    if media and media not in _READ and media != "application/octet-stream":
        raise ConfigError(
            f"ContentType {content_type!r} cannot be read in Pipe mode. Expected one of {', '.join(sorted(_READ))}, or "
            f"RecordWrapperType=RecordIO to get one record an object."
        )
    kind = _READ.get(media) or _recognise(head)
    if kind in _FRAMED:
        return _FRAMED[kind]
    if kind is Kind.LIBSVM:
        return Lines(_libsvm(content_type))
    if kind is Kind.JSON_LINES:
        return Lines(_json_lines)
    return _csv_lines(content_type, head, whole=whole)


def _need(enough: bool) -> None:
    if not enough:
        raise TooShort


def _recognise(head: bytes) -> Kind:
    if not head.strip():
        return Kind.CSV
    kind = sniff.recognise(head, "the stream", None)
    if kind not in _FRAMED and kind not in _LINES:
        raise ConfigError(
            f"The stream is {kind.value}, which cannot be read in Pipe mode. Expected another mode (FastFile), or one "
            f"of {', '.join(sorted(_READ))}."
        )
    return kind


def _csv_lines(content_type: str | None, head: bytes, *, whole: bool) -> Lines:
    """CSV, with a header if the first line is one; which columns are text is told by the lines that follow it."""
    lines = head.count(b"\n")
    _need(whole or lines >= _LEAST_LINES)
    names = header_csv.header(head)
    if names is None:
        labelled = parameter(content_type or "", "label_size") != "0"
        return Lines(_csv if labelled else _csv_without_label)
    _need(whole or lines > _LINES_BELOW_HEADER)
    first, _, rest = head.partition(b"\n")
    first = bytes(bare(first))
    # The last line may be cut.
    rest = records(rest[: rest.rfind(b"\n") + 1] or rest, first)

    text = header_csv.text_columns(rest, names)
    return Lines(lambda data, line: dict(header_csv.decode(data, names, text, first_line=line)), header=first)


def _libsvm(content_type: str | None) -> Callable[[bytes, int], Columns]:
    width = stated_width(content_type)
    if width is None:
        raise ConfigError(
            f"ContentType {content_type!r} does not say how many features rows of LibSVM have, and a pipe cannot be "
            f"searched for the largest index. Expected the number of them, such as 'text/libsvm; features=300'."
        )
    return lambda data, line: dict(libsvm.decode(data, width, first_line=line))


def _tfrecord_sum(record: memoryview, number: int, start: int) -> None:
    place = len(record) - tfrecord.FOOTER
    stored = int.from_bytes(record[place:], "little")
    computed = masked_crc(bytes(record[tfrecord.HEADER : place]))
    if stored != computed:
        raise FormatError(wrong_sum(number, start, start + place, stored, computed))


def _csv(data: bytes, first_line: int) -> Columns:
    rows = csv.decode(data, first_line=first_line)
    return {"label": rows[:, 0], "features": rows[:, 1:]}


def _csv_without_label(data: bytes, first_line: int) -> Columns:
    return {"features": csv.decode(data, first_line=first_line)}


def _json_lines(data: bytes, first_line: int) -> Columns:
    return dict(jsonl.decode_columns(data, first_line=first_line))


def _npy(data: bytes) -> Value:
    return npy.decode(data).copy()


_FRAMED = {
    Kind.RECORDIO_PROTOBUF: Framed(recordio_stops, aialgs.decode, aialgs.layout),
    Kind.RECORDIO: Framed(recordio_stops, recordio.decode),
    Kind.TFRECORD: Framed(tfrecord_stops, tfrecord.decode, tfrecord.layout, _tfrecord_sum),
}
_LINES = {Kind.CSV, Kind.CSV_HEADER, Kind.JSON_LINES, Kind.LIBSVM}
_READ = {media: kind for media, kind in sniff.OF_MEDIA_TYPE.items() if kind in _LINES or kind in _FRAMED}
_OBJECTS: dict[str, Callable[[bytes], Value]] = {"application/x-npy": _npy}
