"""Several hosts of one job: each sums up its part, and host 0 merges them.

    host 0         listens before it reads its own part
    all others     send theirs as JSON over one connection, and end when host 0 has it

Message: a mark, the rank, the length, the content; one byte comes back. What does not begin with the mark is no host.
"""

import logging
import socket
import struct
import time
from collections.abc import Callable

import orjson

from ..errors import PlatformError
from .job import Job
from .traffic import Traffic

log = logging.getLogger("twofold.monitor")

WAIT_SECONDS = 3600.0
"""Longest time that hosts wait for one another: they are given parts of about one size."""
_HEADER = struct.Struct(">8sIQ")
_MARK, _TAKEN = b"twofold1", b"\x01"
_MAX_BYTES = 1 << 32
_RETRY_SECONDS = 0.25
_SILENCE_SECONDS = 60.0


def share(job: Job, read: Callable[[int, int], Traffic]) -> Traffic | None:
    """Read this host's part and bring all together; None on all hosts but host 0.

    Args:
        job: says which host this is.
        read: reads a part of so many.

    Raises:
        PlatformError: a host did not come.
    """
    cluster = job.cluster
    part, parts = (0, 1) if job.sharded else (cluster.rank, cluster.size)
    if cluster.size == 1:
        return read(part, parts)
    if not cluster.is_master:
        send_part(cluster.master, job.port, cluster.rank, orjson.dumps(read(part, parts).to_json()))
        return None
    with listen(job.port) as listener:
        traffic = read(part, parts)
        for content in receive_parts(listener, cluster.size - 1):
            traffic.merge(Traffic.from_json(orjson.loads(content)))
    return traffic


def listen(port: int) -> socket.socket:
    """Open the port on all interfaces.

    Raises:
        PlatformError: it is taken.
    """
    try:
        return socket.create_server(("", port))
    except OSError as error:
        raise PlatformError(f"Port {port} cannot be opened: {error}. Expected it free: set MONITOR_PORT.") from error


def receive_parts(listener: socket.socket, number: int, *, seconds: float = WAIT_SECONDS) -> list[bytes]:
    """Take the parts of so many hosts; one that comes again takes the place of its first.

    Raises:
        PlatformError: not all have come in time.
    """
    parts: dict[int, bytes] = {}
    end = time.monotonic() + seconds
    while len(parts) < number:
        listener.settimeout(max(end - time.monotonic(), 0.001))
        try:
            connection, address = listener.accept()
        except TimeoutError as error:
            raise PlatformError(
                f"{len(parts)} of {number} other hosts have sent their part within {seconds:g} s. Look at their logs."
            ) from error
        with connection:
            connection.settimeout(_SILENCE_SECONDS)
            try:
                rank, content = _receive(connection)
                connection.sendall(_TAKEN)
            except (OSError, ValueError) as error:
                log.warning("%s sent no part: %s", address[0], error)
                continue
            parts[rank] = content
    return [parts[rank] for rank in sorted(parts)]


def send_part(host: str, port: int, rank: int, content: bytes, *, seconds: float = WAIT_SECONDS) -> None:
    """Send a part to host 0, which may not be there yet.

    Raises:
        PlatformError: it did not take it in time.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection((host, port), timeout=_SILENCE_SECONDS) as connection:
                # Host 0 answers only when it has read its own part.
                connection.settimeout(max(end - time.monotonic(), 0.001))
                connection.sendall(_HEADER.pack(_MARK, rank, len(content)) + content)
                if connection.recv(1) == _TAKEN:
                    return
                reason = "it closed the connection"
        except OSError as error:
            reason = str(error)
        if time.monotonic() > end:
            raise PlatformError(
                f"Host {host} did not take this host's part at port {port} within {seconds:g} s: {reason}. Look at its "
                f"log; hosts of a job must reach each other."
            )
        time.sleep(_RETRY_SECONDS)


def _receive(connection: socket.socket) -> tuple[int, bytes]:
    mark, rank, size = _HEADER.unpack(_exactly(connection, _HEADER.size))
    if mark != _MARK or size > _MAX_BYTES:
        raise ValueError("it is no host of this job")
    return rank, _exactly(connection, size)


def _exactly(connection: socket.socket, size: int) -> bytes:
    content = bytearray()
    while len(content) < size:
        part = connection.recv(min(size - len(content), 1 << 20))
        if not part:
            raise ValueError("it closed the connection")
        content += part
    return bytes(content)
