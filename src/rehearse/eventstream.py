"""AWS's framing of events: length, length of the headers, checksum, headers, payload, checksum.

Source: https://smithy.io/2.0/aws/amazon-eventstream.html; checksums are CRC-32 of everything before them.
"""

import struct
import zlib
from collections.abc import Mapping

TYPE = "application/vnd.amazon.eventstream"
_TEXT = 7
"""Type of a header's value that is text."""


def event(kind: str, payload: bytes) -> bytes:
    """An event, such as a `PayloadPart`, whose payload is bytes."""
    return _message(
        {":message-type": "event", ":event-type": kind, ":content-type": "application/octet-stream"}, payload
    )


def exception(kind: str, payload: bytes) -> bytes:
    """An exception that ends the stream; its payload is JSON."""
    return _message(
        {":message-type": "exception", ":exception-type": kind, ":content-type": "application/json"}, payload
    )


def _message(headers: Mapping[str, str], payload: bytes) -> bytes:
    head = b"".join(
        struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", _TEXT, len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack("!II", 16 + len(head) + len(payload), len(head))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + head + payload
    return message + struct.pack("!I", zlib.crc32(message))
