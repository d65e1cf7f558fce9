"""SageMaker's manifests: lists of the objects of a channel, plain or augmented with labels.

    manifest              [{"prefix": "s3://bucket/base/"}, "a/1.csv", "a/2.csv"]
    augmented manifest    {"source-ref": "s3://bucket/1.jpg", "class": 3}                          one line a sample

An attribute whose name ends in `-ref` stands for the bytes of an object, any other for its own value. In Pipe mode with
the RecordIO wrapper the platform sends each attribute as a record of its own, in the order of `AttributeNames`.
Sources: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_S3DataSource.html;
https://docs.aws.amazon.com/sagemaker/latest/dg/augmented-manifest.html.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

import orjson

from ..errors import FormatError
from . import images, npy
from .json_values import numeric
from .layout import Sample, Value

REFERENCE = "-ref"
"""End of the name of an attribute that stands for an object."""
MAX_ATTRIBUTES = 16
"""Most attributes that a channel may name; the platform's own bound."""

_S3 = "s3://"


def is_manifest(value: object) -> bool:
    """Whether a JSON value is a manifest: a list that starts with a prefix."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and value[0].keys() == {"prefix"}


def is_augmented(value: object) -> bool:
    """Whether a JSON value is a line of an augmented manifest: an object that refers to S3."""
    return isinstance(value, dict) and any(
        name.endswith(REFERENCE) and isinstance(uri, str) and uri.startswith(_S3) for name, uri in value.items()
    )


def uris(data: bytes) -> list[str]:
    """Read a manifest as the URIs of all its objects, in order.

    Raises:
        FormatError: names the entry, counted from 0.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise FormatError(f'No JSON: {error}. Expected a manifest such as [{{"prefix": "s3://..."}}, "a"].') from error
    if not is_manifest(value):
        raise FormatError('No manifest: expected a JSON list that starts with {"prefix": "s3://BUCKET/..."}.')
    prefix, *names = value
    for place, text in enumerate([prefix["prefix"], *names]):
        if not isinstance(text, str) or (place == 0 and not text.startswith(_S3)):
            shown = orjson.dumps(text).decode()[:40]
            raise FormatError(f"entry {place} is {shown}, expected {'a key' if place else 'a prefix s3://BUCKET/...'}.")
    return [prefix["prefix"] + name for name in names]


def decode_lines(data: bytes, attributes: Sequence[str], *, first_line: int = 1) -> list[Sample]:
    """Read lines of an augmented manifest; what an attribute refers to stays a URI.

    Args:
        data: whole lines.
        attributes: names to take out of each line, as the channel's `AttributeNames`.
        first_line: number of the first line of `data` in its file, for messages.

    Raises:
        FormatError: names the line and the attribute.
    """
    data = data.rstrip()
    lines = data.split(b"\n") if data else []
    return [_line(line, attributes, number) for number, line in enumerate(lines, start=first_line)]


def samples(records: Iterable[bytes | memoryview], attributes: Sequence[str]) -> Iterator[Sample]:
    """Put the records of a pipe together again, one sample of as many as there are attributes.

    Args:
        records: payload of each RecordIO record, in order.
        attributes: names, as the channel's `AttributeNames`.

    Raises:
        FormatError: the pipe ends within a sample, or an attribute cannot be decoded; names the sample, from 0.
    """
    if not 0 < len(attributes) <= MAX_ATTRIBUTES or len(set(attributes)) < len(attributes):
        raise FormatError(
            f"{len(attributes)} attributes: {', '.join(attributes)[:80]}. Expected 1 to {MAX_ATTRIBUTES} different "
            f"names, the AttributeNames of the channel."
        )
    for number, group in enumerate(zip_longest(*[iter(records)] * len(attributes))):
        sample: Sample = {}
        for name, content in zip(attributes, group, strict=True):
            if content is None:
                raise FormatError(
                    f"sample {number}: the data end after {len(sample)} of {len(attributes)} attributes. Either they "
                    f"are cut short, or the channel's AttributeNames are others than {', '.join(attributes)[:80]}."
                )
            try:
                sample[name] = decode_attribute(name, content)
            except FormatError as error:
                raise FormatError(f"sample {number}, attribute {name!r}: {error}") from error
        yield sample


def decode_attribute(name: str, content: bytes | memoryview) -> Value:
    """Decode what came for an attribute: images and NPY of a reference as arrays, other objects as bytes.

    A value of its own that is a number or an even list of numbers becomes an array, any other text.
    """
    if name.endswith(REFERENCE):
        if images.signature(bytes(content[:12])):
            return images.decode(content)
        return npy.decode(bytes(content)) if bytes(content[:6]) == npy.MAGIC else bytes(content)
    try:
        text = bytes(content).decode()
    except UnicodeDecodeError as error:
        raise FormatError(
            f"byte {error.start} is no UTF-8, expected a value as text. The order of the channel's AttributeNames may "
            f"differ from that of the data."
        ) from error
    try:
        array = numeric(orjson.loads(text))
    except orjson.JSONDecodeError:
        return text
    return text if array is None else array


def _line(line: bytes, attributes: Sequence[str], number: int) -> Sample:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise FormatError(f"line {number} is no JSON: {error}. Expected one object a line.") from error
    names = ", ".join(value) if isinstance(value, dict) else "no object"
    missing = [name for name in attributes if not isinstance(value, dict) or name not in value]
    if missing:
        raise FormatError(
            f"line {number} has {names[:80] or 'nothing'}, expected the attribute {missing[0]!r}. Correct the line, or "
            f"the channel's AttributeNames."
        )
    return {name: _value(name, value[name], number) for name in attributes}


def _value(name: str, value: object, number: int) -> Value:
    if isinstance(value, str) and (not name.endswith(REFERENCE) or value.startswith(_S3)):
        return value
    array = None if name.endswith(REFERENCE) else numeric(value)
    text = orjson.dumps(value).decode()
    if name.endswith(REFERENCE):
        raise FormatError(f"line {number}: {name!r} is {text[:40]}, expected the URI of an object, s3://BUCKET/KEY.")
    return text if array is None else array
