"""One reader of a pipe for all ranks of a host: local rank 0 reads it and passes the others their records.

    pass n   rank 0  FIFO <channel>_<n> --> records --> its own share
                        |-- Unix socket --> share of local rank 1
                        |-- Unix socket --> share of local rank 2

Each pass has its own connections, so one that all ranks leave early leaves nothing behind in them.
"""

import select
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import ConfigError, DataError, PlatformError
from ..formats.sniff import GZIP
from .ahead import Stop
from .fifo import Fifo
from .framing import Framing
from .gunzip import unpacked
from .peer import BEGIN, END, RECORDS, Peer, Pipe, read_block
from .pipe_formats import HEAD_BYTES, TooShort
from .record_stream import Block, RecordStream

_HELLO = struct.Struct("<II")
_MAX_PATH = 107
_PAUSE = 0.02


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

    def close(self) -> None:
        """Give back what is held between passes."""


class Reader:
    """Local rank 0: reads the FIFO and serves the other ranks."""

    def __init__(self, pipe: Pipe, shares: Shares, address: Path | None, *, drop_last: bool = False) -> None:
        """Take where to listen, None without other ranks, and whether a short last step is left out.

        Raises:
            ConfigError: the address is too long for a socket.
        """
        self._pipe, self._shares, self._drop_last = pipe, shares, drop_last
        self._address = address
        self._listener = _listen(address, len(shares.borders)) if address else None

    def blocks(self, number: int, skip: int, stop: Stop) -> Iterator[tuple[Framing, Block]]:
        """Read a pass, and give everybody their share of each step."""
        peers = self._accept(number, stop)
        least = self._shares.records if self._drop_last else 1
        try:
            with Fifo(self._pipe.fifo(number), stop, wait_seconds=self._pipe.wait_seconds) as fifo:
                head, framing, stream = self._begin(fifo)
                for peer in peers.values():
                    peer.send(BEGIN, head)
                stream.skip(skip * self._shares.records)
                while len((block := stream.take(self._shares.records)).stops) >= least:
                    for rank, peer in peers.items():
                        peer.send_block(block.part(*self._shares.of(rank, len(block.stops))))
                    yield framing, block.part(*self._shares.of(0, len(block.stops)))
            for peer in peers.values():
                peer.send(END)
        except (DataError, ConfigError, PlatformError) as error:
            for peer in peers.values():
                peer.send_last(error)
            raise
        finally:
            for peer in peers.values():
                peer.close()

    def close(self) -> None:
        """Stop listening."""
        if self._listener and self._address:
            self._listener.close()
            self._address.unlink(missing_ok=True)

    def _begin(self, fifo: Fifo) -> tuple[bytes, Framing, RecordStream]:
        """Read enough to know how records stand in a pass, and whether they are compressed."""
        read: Callable[[], bytes] = fifo.read
        start, ended = bytearray(), False
        while len(start) < len(GZIP) and not ended:
            start += (chunk := read())
            ended = not chunk
        if start.startswith(GZIP):
            read = unpacked(bytes(start), read, self._pipe.name)
            start.clear()
        while True:
            try:
                framing = self._pipe.framing(head := bytes(start[:HEAD_BYTES]), whole=ended)
                break
            except TooShort:
                start += (chunk := read())
                ended = not chunk or len(start) >= HEAD_BYTES
        first = [bytes(start)] if start else []
        return head, framing, RecordStream(lambda: first.pop() if first else read(), framing, self._pipe.name)

    def _accept(self, number: int, stop: Stop) -> dict[int, "Peer"]:
        """Wait for all other ranks of the host to begin this pass."""
        peers: dict[int, Peer] = {}
        while self._listener and len(peers) < len(self._shares.borders) - 1:
            if not stop.wait(self._listener.fileno(), select.POLLIN, self._pipe.wait_seconds):
                raise PlatformError(
                    f"{self._pipe.name}: {len(peers) + 1} of {len(self._shares.borders)} ranks of this host began pass "
                    f"{number} in {self._pipe.wait_seconds:g} s. Expected all: look at the logs of the others."
                )
            peer = Peer(self._listener.accept()[0], self._pipe, stop)
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
        reader = Peer(self._connect(stop), self._pipe, stop)
        try:
            reader.send_bytes(_HELLO.pack(self._local_rank, number))
            framing = self._pipe.framing(reader.expect(BEGIN)[1])
            while (message := reader.expect(RECORDS, END))[0].kind == RECORDS:
                yield framing, read_block(*message)
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


def _listen(address: Path, ranks: int) -> socket.socket:
    if len(str(address).encode()) > _MAX_PATH:
        raise ConfigError(
            f"{address} is too long for a socket. Expected at most {_MAX_PATH} bytes: use a shorter folder."
        )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(address))
        listener.listen(ranks)
    except OSError as error:
        listener.close()
        raise ConfigError(f"{address} cannot be listened at ({error}). Expected a new folder for each job.") from error
    return listener
