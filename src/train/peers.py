"""What the hosts of one job tell each other when one of them fails: all name the first cause, or all begin again.

    algo-1   rank 0 lost its peer    ─┐  one short message each way, from parent to parent:
    algo-2   rank 1: KeyError: ...   ─┘  algo-1 says what algo-2 has found

Ranks cannot tell this themselves: one that was killed says nothing, and the store by which they meet goes with rank 0.
A message waits in the queue of the listening socket until somebody looks, so nothing runs for it while all is well.
"""

import contextlib
import json
import logging
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import repeat

from ..contract import signals
from ..contract.cluster import Cluster
from .culprit import PEER_TIMEOUT_S

log = logging.getLogger(__name__)

WAIT_S = PEER_TIMEOUT_S + 5.0
"""Longest wait for the word of another host: its ranks have had `PEER_TIMEOUT_S` to end by then."""
GATHER_S = 15.0
"""Time from the start of a host within which others listen: one that fails earlier tries to tell them until then."""
_AGAIN_S = 0.2
_CONNECT_S = 3.0
_READ_S = 1.0
_MAX_BYTES = 1 << 16
_SENDERS = 32
_LINGER = struct.pack("ii", 1, 2)
"""On, and the seconds that closing waits for the other side to have it all: this host may be gone right after."""


@dataclass(frozen=True, slots=True)
class Word:
    """What one host says of its end."""

    host: str
    """Name of the host, as in `resourceconfig.json`."""
    message: str
    """Text of its failure file."""
    exit_code: int
    """Exit code of the job there."""
    lost: bool
    """Whether it only lost its connection to others: a real cause beats it."""
    smaller: int = 0
    """Samples of one forward pass with which it would begin again; 0: it would not by itself."""
    shortage: str = ""
    """What ran out there; empty where nothing did."""
    start: int = 0
    """Number of the start of the ranks that this is about, from 0."""

    @property
    def is_final(self) -> bool:
        """Whether the job cannot go on, whatever others say."""
        return not self.lost and not self.smaller


class Peers:
    """The other hosts of this job."""

    def __init__(self, cluster: Cluster, port: int, listener: socket.socket | None) -> None:
        """Take the hosts, the port that all of them listen at, and the socket that does; None hears nobody."""
        self._own = cluster.current_host
        self._others = [host for host in cluster.hosts if host != cluster.current_host]
        self._port, self._listener = port, listener
        self._start, self._ahead = 0, list[Word]()
        self._gathered = time.monotonic() + GATHER_S
        self._forget()

    def _forget(self) -> None:
        self._words: dict[str, Word] = {}
        self._said: Word | None = None
        self._since: float | None = None
        self._until: float | None = None

    def look(self) -> bool:
        """Tell, without waiting, whether another host has failed and the ranks of this one have had time to notice.

        They may not notice by themselves: NCCL waits for half an hour where no connection breaks. Where all are to
        begin again nobody has to notice anything.
        """
        self._take()
        if any(word.smaller for word in self._words.values()):
            return True
        return self._since is not None and time.monotonic() > self._since + PEER_TIMEOUT_S

    def tell(self, message: str, exit_code: int, *, lost: bool, smaller: int = 0, shortage: str = "") -> None:
        """Tell all other hosts why this one ends; one that cannot be reached is left out, once all must have begun.

        With `smaller` it is not the end: see `agreed`. Having lost others is said once.
        """
        if lost and self._said is not None:
            return
        self._said = Word(self._own, message, exit_code, lost, smaller, shortage, self._start)
        if not self._others:
            return
        content = json.dumps(asdict(self._said)).encode()
        with ThreadPoolExecutor(min(_SENDERS, len(self._others)), thread_name_prefix="peers") as senders:
            left = self._reach(senders, self._others, content)
            if left and time.monotonic() < self._gathered:
                log.info("%s: told why this host ends once they listen, for %g s", ", ".join(left), GATHER_S)
            while left and time.monotonic() < self._gathered:
                time.sleep(_AGAIN_S)
                left = self._reach(senders, left, content)
        for host, fault in left.items():
            log.info("host %s was not told why this one ends: %s", host, fault)

    def cause(self, seconds: float = WAIT_S) -> Word | None:
        """Wait for a host that knows the cause; None once all have spoken without, in `seconds`, or told to stop."""

        def known() -> Word | None:
            return min((word for word in self._words.values() if not word.lost), key=_rank, default=None)

        end = time.monotonic() + seconds if self._until is None else self._until
        with signals.as_bytes((signal.SIGTERM, signal.SIGINT)) as wakeup:
            self._hear(wakeup, end, lambda: known() is not None or not self.silent())
        return known()

    def agreed(self, wakeup: int) -> Word | None:
        """Wait until all other hosts have ended too; return the word by which all of them begin again.

        Whoever has heard from all takes the same decision. A host that has not must fail, and says so: those that
        have begun again hear that like any failure.

        Args:
            wakeup: descriptor that is readable once the job is told to stop.

        Returns:
            The offer of the fewest samples; None where there is none, where a host has failed for good or said nothing
            in `WAIT_S`, or if told to stop.
        """
        self._until = time.monotonic() + WAIT_S
        self._hear(wakeup, self._until, lambda: self.verdict is not None or not self.silent())
        words = [*self._words.values(), *([self._said] if self._said else [])]
        if self.silent() or any(word.is_final for word in words):
            return None
        return min((word for word in words if word.smaller), key=_rank, default=None)

    def begin_again(self) -> None:
        """Forget what was said of this start of the ranks; words that are about the next one count from now on."""
        self._start += 1
        ahead, self._ahead = self._ahead, []
        self._forget()
        for word in ahead:
            self._keep(word)

    @property
    def verdict(self) -> Word | None:
        """Word of a host that has failed for good."""
        return next((word for word in self._words.values() if word.is_final), None)

    @property
    def have_spoken(self) -> bool:
        """Whether one of them has said that it ends."""
        return bool(self._words)

    def silent(self) -> list[str]:
        """Hosts that have said nothing."""
        return [host for host in self._others if host not in self._words]

    def _reach(self, senders: ThreadPoolExecutor, hosts: Iterable[str], content: bytes) -> dict[str, OSError]:
        """Send to hosts; return the faults of those that may listen later and would wait for its ranks."""
        faults = list(senders.map(self._send, hosts, repeat(content)))
        # A host that has spoken may be gone.
        self._take()
        return {host: fault for host, fault in zip(hosts, faults, strict=True) if fault and host not in self._words}

    def _send(self, host: str, content: bytes) -> OSError | None:
        """Tell one host; return why it could not be reached."""
        try:
            with socket.create_connection((host, self._port), timeout=_CONNECT_S) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
                connection.sendall(content)
        except OSError as error:
            return error
        return None

    def _hear(self, wakeup: int, end: float, is_over: Callable[[], bool]) -> None:
        """Take words until it is over, the time has come, or there is something at `wakeup`."""
        while not is_over() and self._listener is not None and (left := end - time.monotonic()) > 0:
            if wakeup in select.select([wakeup, self._listener.fileno()], [], [], left)[0]:
                return
            self._take()

    def _take(self) -> None:
        """Take one word, if one is there."""
        if self._listener is None:
            return
        try:
            connection, address = self._listener.accept()
        except OSError:
            return
        with connection:
            try:
                word = _read(connection)
            except (OSError, ValueError, TypeError, RecursionError) as error:
                log.warning("%s is no host of this job: %s", address[0], error)
                return
        if word.host in self._others:
            self._keep(word)

    def _keep(self, word: Word) -> None:
        """Take a word in: the first of each host, and the last one where it has failed for good."""
        if word.start > self._start and not word.is_final:
            self._ahead.append(word)
        elif word.start == self._start or word.is_final:
            log.warning("host %s has ended: %s", word.host, word.message)
            if word.is_final or word.host not in self._words:
                self._words[word.host] = word
            self._since = self._since or time.monotonic()


def _rank(word: Word) -> tuple[int, str]:
    """Order in which words are chosen, the same on all hosts."""
    return word.smaller, word.host


@contextlib.contextmanager
def listening(cluster: Cluster, port: int) -> Iterator[Peers]:
    """Listen for the other hosts, where there are any; a port that is taken costs their word, not the job."""
    listener = _listen(cluster, port) if cluster.size > 1 else None
    with listener or contextlib.nullcontext():
        yield Peers(cluster, port, listener)


def _listen(cluster: Cluster, port: int) -> socket.socket | None:
    try:
        address = socket.gethostbyname(cluster.current_host)
    except OSError:
        address = ""  # a name that does not resolve yet
    try:
        listener = socket.create_server((address, port), backlog=2 * cluster.size)
    except OSError as error:
        log.warning("other hosts cannot say here why they end: port %d cannot be opened: %s", port, error)
        return None
    listener.setblocking(False)
    return listener


def _read(connection: socket.socket) -> Word:
    """Read one word.

    Raises:
        OSError: it did not come.
        ValueError, TypeError, RecursionError: it is none.
    """
    connection.settimeout(_READ_S)
    content = bytearray()
    while part := connection.recv(_MAX_BYTES):
        content += part
        if len(content) > _MAX_BYTES:
            raise ValueError(f"more than {_MAX_BYTES} bytes")
    word = Word(**json.loads(content))
    if [type(value) for value in asdict(word).values()] != [str, str, int, bool, int, str, int]:
        raise TypeError("a field of another type")
    return word
