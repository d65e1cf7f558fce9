"""One reader of a pipe for all ranks of a host: local rank 0 reads it and passes the others their records.

    pass n   rank 0  FIFO <channel>_<n> --> records --> its own share
                        |-- Unix socket --> share of local rank 1        one connection for each pass, so that a pass
                        |-- Unix socket --> share of local rank 2        which all ranks leave early leaves nothing behind

Messages on the socket: kind, number of records, number of the first, its byte, length; then the records' ends and bytes.
"""

import select
import socket
import struct
import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import ConfigError, DataError, PlatformError
from .ahead import Stop
from .fifo import WAIT_SECONDS, Fifo
from .framing import Framing, choose
from .record_stream import Block, RecordStream

_HELLO = struct.Struct("<II")
_MESSAGE = struct.Struct("<BIqqQ")
_RECORDS, _END, _DATA_ERROR, _PLATFORM_ERROR = range(4)
_MAX_PATH = 107
_HEAD_BYTES = 64
_PAUSE = 0.02


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

    def framing(self, head: bytes) -> Framing:
        """How its records stand in it."""
        return choose(self.content_type, self.record_wrapper, head, self.attributes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Which records of a step are whose."""

    records: int
    """Records that the host reads for a step."""
    borders: Sequence[tuple[int, int]]
    """First and last of each local rank's slots among them."""

    def of(self, local_rank: int, found: int) -> tuple[int, int]:
        """First and last records of a local rank when a step has `found` records; at the end they are fewer."""
        first, last = self.borders[local_rank]
        return found * first // self.records, found * last // self.records


class Feed(Protocol):
    """Where a rank's records come from."""

    def blocks(self, number: int, skip: int, stop: Stop) -> Iterator[tuple[Framing, Block]]:
        """Yield this rank's records of each step of pass `number`, after `skip` steps."""


class Reader:
    """Local rank 0: reads the FIFO and serves the other ranks."""

    def __init__(self, pipe: Pipe, shares: Shares, address: Path | None) -> None:
        """Take where to listen; None without other ranks.

        Raises:
            ConfigError: the address is too long for a socket.
        """
        self._pipe, self._shares = pipe, shares
        self._listener = _listen(address, len(shares.borders)) if address else None

    def blocks(self, number: int, skip: int, stop: Stop) -> Iterator[tuple[Framing, Block]]:
        """Read a pass, and give everybody their share of each step."""
        peers = self._accept(number, stop)
        try:
            for framing, block in self._read(number, skip, stop):
                for rank, peer in peers.items():
                    peer.send_block(framing, block.part(*self._shares.of(rank, len(block.stops))))
                yield framing, block.part(*self._shares.of(0, len(block.stops)))
            for peer in peers.values():
                peer.send(_END, 0, 0, 0, b"")
        except (DataError, PlatformError) as error:
            kind = _DATA_ERROR if isinstance(error, DataError) else _PLATFORM_ERROR
            for peer in peers.values():
                peer.send_last(kind, str(error).encode())
            raise
        finally:
            for peer in peers.values():
                peer.close()

    def close(self) -> None:
        """Stop listening."""
        if self._listener:
            self._listener.close()

    def _read(self, number: int, skip: int, stop: Stop) -> Iterator[tuple[Framing, Block]]:
        with Fifo(self._pipe.fifo(number), stop, wait_seconds=self._pipe.wait_seconds) as fifo:
            head = bytearray()
            while len(head) < _HEAD_BYTES and (chunk := fifo.read()):
                head += chunk
            framing = self._pipe.framing(bytes(head[:_HEAD_BYTES]))
            first = [bytes(head)] if head else []
            stream = RecordStream(lambda: first.pop() if first else fifo.read(), framing, self._pipe.name)
            stream.skip(skip * self._shares.records)
            while (block := stream.take(self._shares.records)).stops:
                yield framing, block

    def _accept(self, number: int, stop: Stop) -> dict[int, "_Peer"]:
        """Wait for all other ranks of the host to begin this pass."""
        peers: dict[int, _Peer] = {}
        while self._listener and len(peers) < len(self._shares.borders) - 1:
            if not stop.wait(self._listener.fileno(), select.POLLIN, self._pipe.wait_seconds):
                raise PlatformError(
                    f"{self._pipe.name}: {len(peers) + 1} of {len(self._shares.borders)} ranks of this host began pass "
                    f"{number} in {self._pipe.wait_seconds:g} s. Expected all: look at the logs of the others."
                )
            peer = _Peer(self._listener.accept()[0], self._pipe, stop)
            rank, theirs = _HELLO.unpack(peer.receive(_HELLO.size))
            if theirs != number:
                raise PlatformError(f"{self._pipe.name}: local rank {rank} is at pass {theirs}, rank 0 at {number}.")
            peers[rank] = peer
        return peers


class Listener:
    """Any other local rank: takes its share from local rank 0."""

    def __init__(self, pipe: Pipe, local_rank: int, address: Path) -> None:
        """Take the address that local rank 0 listens at, now or soon."""
        self._pipe, self._local_rank, self._address = pipe, local_rank, address

    def blocks(self, number: int, skip: int, stop: Stop) -> Iterator[tuple[Framing, Block]]:  # noqa: ARG002
        """Receive a pass; local rank 0 knows how many steps are skipped."""
        reader = _Peer(self._connect(stop), self._pipe, stop)
        try:
            reader.send_bytes(_HELLO.pack(self._local_rank, number))
            framing: Framing | None = None
            while True:
                kind, records, first_record, first_byte, size = _MESSAGE.unpack(reader.receive(_MESSAGE.size))
                content = reader.receive(size)
                if kind == _END:
                    return
                if kind != _RECORDS:
                    raise (DataError if kind == _DATA_ERROR else PlatformError)(content.decode())
                framing = framing or self._pipe.framing(content[:_HEAD_BYTES])
                stops = array("q", content[_HEAD_BYTES : _HEAD_BYTES + 8 * records])
                yield framing, Block(content[_HEAD_BYTES + 8 * records :], stops, first_record, first_byte)
        finally:
            reader.close()

    def close(self) -> None:
        """Nothing is held between passes."""

    def _connect(self, stop: Stop) -> socket.socket:
        deadline = time.monotonic() + self._pipe.wait_seconds
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.connect(str(self._address))
            except (FileNotFoundError, ConnectionRefusedError, BlockingIOError) as error:
                connection.close()
                if time.monotonic() > deadline:
                    raise PlatformError(
                        f"{self._pipe.name}: local rank 0, which reads the pipe, has not come in "
                        f"{self._pipe.wait_seconds:g} s. Look at its log."
                    ) from error
                stop.pause(_PAUSE)
            else:
                return connection
