"""How a pipe is read: from its content type and record wrapper, or its first bytes, to a framing."""

from collections.abc import Callable

from ..errors import ConfigError, FormatError
from ..formats import aialgs, csv, images, jsonl, npy, recordio, tfrecord
from ..formats.layout import Value, masked_crc, wrong_sum
from ..formats.table import media_type
from .framing import Attributes, Framed, Framing, Lines, recordio_stops, tfrecord_stops
from .shards import Columns


def choose(content_type: str | None, wrapper: str, head: bytes, attributes: tuple[str, ...] = ()) -> Framing:
    """Find out how a pipe is framed: by its content type, without one by its first bytes.

    Args:
        content_type: of the channel.
        wrapper: `RecordIO` if each object comes as one record, else `None`.
        head: first bytes of the stream.
        attributes: names of an augmented manifest's attributes; empty for other channels.

    Raises:
        ConfigError: a type that no pipe can be read as.
    """
    media = media_type(content_type or "")
    decode_object = _OBJECTS.get(media, images.decode if media.startswith("image/") else bytes)
    if attributes:
        return Attributes(attributes, decode_object)
    if wrapper == "RecordIO" and media not in _FRAMED:
        name = "image" if media.startswith("image/") else "data"
        return Framed(recordio_stops, lambda record: {name: decode_object(recordio.payload(record))})
    if media in _LINES:
        labelled = "label_size=0" not in (content_type or "").replace(" ", "")
        return Lines(_csv if labelled else _csv_without_label) if media == "text/csv" else Lines(_LINES[media])
    if media in _FRAMED:
        return _FRAMED[media]
    if media and media != "application/octet-stream":
        raise ConfigError(
            f"ContentType {content_type!r} cannot be read in Pipe mode. Expected one of "
            f"{', '.join(sorted([*_FRAMED, *_LINES]))}, or RecordWrapperType=RecordIO to get one record an object."
        )
    return _recognise(head)


def _recognise(head: bytes) -> Framing:
    if head[:4] == recordio.MAGIC.to_bytes(4, "little"):
        return _FRAMED["application/x-recordio-protobuf"]
    if len(head) >= tfrecord.HEADER and masked_crc(head[:8]) == int.from_bytes(head[8:12], "little"):
        return _FRAMED["application/x-tfrecord"]
    return Lines(_json_lines if head.lstrip()[:1] in (b"{", b"[") else _csv)


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
    "application/x-recordio-protobuf": Framed(recordio_stops, aialgs.decode, aialgs.layout),
    "application/x-recordio": Framed(recordio_stops, recordio.decode),
    "application/x-tfrecord": Framed(tfrecord_stops, tfrecord.decode, tfrecord.layout, _tfrecord_sum),
}
_LINES = {
    "text/csv": _csv,
    "application/jsonlines": _json_lines,
    "application/x-jsonlines": _json_lines,
}
_OBJECTS: dict[str, Callable[[bytes], Value]] = {"application/x-npy": _npy}
