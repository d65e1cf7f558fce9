"""The connection between two ranks of a host that share a pipe.

Messages: kind, number of records, number of the first in the stream, its byte, length; then the ends of the records,
8 bytes each, and their bytes.
"""

import logging
import select
import socket
import struct
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..errors import ConfigError, DataError, FormatError, PlatformError
from .ahead import Stop
from .fifo import WAIT_SECONDS
from .framing import Framing
from .pipe_formats import choose
from .record_stream import Block

BEGIN, RECORDS, END, ERROR = range(4)
"""Kinds of messages: the first bytes of a pass, a share of a step, the end of the pass, why there will be no more."""

_MESSAGE = struct.Struct("<BIqqQ")
_ERRORS = {error.__name__: error for error in (ConfigError, DataError, PlatformError)}
_GONE = "another rank of this host has gone. Look at its log: it ended first."

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipe:
    """A channel in Pipe mode."""

    stem: Path
    """FIFO of pass n is this with `_<n>` after it."""
    content_type: str | None = None
    record_wrapper: str = "None"
    attributes: tuple[str, ...] = ()
    """Names of an augmented manifest's attributes; empty for other channels."""
    wait_seconds: float = WAIT_SECONDS

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"Channel {self.stem.name!r}"

    def fifo(self, number: int) -> Path:
        """FIFO of a pass."""
        return self.stem.with_name(f"{self.stem.name}_{number}")

    def framing(self, head: bytes, *, whole: bool = True) -> Framing:
        """Tell how its records stand in it.

        Raises:
            TooShort: the head is not whole, and does not tell yet.
            ConfigError: it cannot be read in Pipe mode.
            DataError: it begins like nothing that is known.
        """
        try:
            return choose(self.content_type, self.record_wrapper, head, self.attributes, whole=whole)
        except FormatError as error:
            raise DataError(f"{self.name}: {error}") from error


class Header(NamedTuple):
    """What goes before the content of a message."""

    kind: int
    records: int
    first_record: int
    first_byte: int
    size: int


class Peer:
    """The connection to another rank of the host."""

    def __init__(self, connection: socket.socket, pipe: Pipe, stop: Stop) -> None:
        connection.setblocking(False)
        self._connection, self._pipe, self._stop = connection, pipe, stop

    def send(
        self, kind: int, content: bytes = b"", records: int = 0, first_record: int = 0, first_byte: int = 0
    ) -> None:
        """Send one message."""
        self.send_bytes(_MESSAGE.pack(kind, records, first_record, first_byte, len(content)))
        self.send_bytes(content)

    def send_block(self, block: Block) -> None:
        """Send records."""
        content = block.stops.tobytes() + block.data
        self.send(RECORDS, content, len(block.stops), block.first_record, block.first_byte)

    def send_last(self, error: Exception) -> None:
        """Say why there will be no more, if the other one still listens."""
        try:
            self.send(ERROR, f"{type(error).__name__} {error}".encode())
        except PlatformError:
            logger.warning("%s: a rank of this host was not told of an error", self._pipe.name)

    def expect(self, *kinds: int) -> tuple[Header, bytes]:
        """Receive one message of these kinds; an error is raised here as it was there."""
        header = Header(*_MESSAGE.unpack(self.receive(_MESSAGE.size)))
        content = self.receive(header.size)
        if header.kind == ERROR:
            kind, _, message = content.decode().partition(" ")
            raise _ERRORS[kind](message)
        if header.kind not in kinds:
            raise PlatformError(f"{self._pipe.name}: found message {header.kind} of local rank 0, expected {kinds}.")
        return header, content

    def send_bytes(self, content: bytes) -> None:
        """Send everything; wait while the other one is busy."""
        view = memoryview(content)
        while view:
            self._wait(select.POLLOUT, "does not take its records")
            with self._named():
                view = view[self._connection.send(view) :]

    def receive(self, size: int) -> bytes:
        """Receive exactly `size` bytes."""
        content = bytearray(size)
        view = memoryview(content)
        while view:
            self._wait(select.POLLIN, "sends nothing")
            with self._named():
                received = self._connection.recv_into(view)
            if not received:
                raise PlatformError(f"{self._pipe.name}: {_GONE}")
            view = view[received:]
        return bytes(content)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _wait(self, events: int, trouble: str) -> None:
        if not self._stop.wait(self._connection.fileno(), events, self._pipe.wait_seconds):
            raise PlatformError(
                f"{self._pipe.name}: another rank of this host {trouble} for {self._pipe.wait_seconds:g} s. Look "
                f"at the logs of all ranks."
            )

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except ConnectionError as error:
            raise PlatformError(f"{self._pipe.name}: {_GONE}") from error


def read_block(header: Header, content: bytes) -> Block:
    """Records of a message."""
    ends = 8 * header.records
    return Block(content[ends:], array("q", content[:ends]), header.first_record, header.first_byte)
