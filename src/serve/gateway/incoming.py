"""The messages of a WebSocket's client, on their way from the loop to the thread that answers them."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import TypeAlias

Message: TypeAlias = str | bytes
"""One message: text or bytes."""

AHEAD = 1 << 20
"""Bytes of messages that wait before no more is read from the client."""
_EACH = 1024
"""Bytes that a message counts for besides its own: many empty ones take memory, too."""


class Incoming:
    """Messages in order; iterating waits for the next one and ends when none will come."""

    def __init__(self, drained: Callable[[], None]) -> None:
        """Take what is called, in the thread that takes messages, once few enough wait to read on."""
        self._drained = drained
        self._messages: deque[Message] = deque()
        self._changed = threading.Condition()
        self._over = False
        self._size = 0
        self.hungry = False
        """Whether a thread waits for a message."""

    @property
    def full(self) -> bool:
        """Whether as much waits as may."""
        return self._size >= AHEAD

    def put(self, message: Message) -> None:
        """Add a message; for the loop's thread."""
        with self._changed:
            self._messages.append(message)
            self._size += len(message) + _EACH
            self._changed.notify()

    def end(self, *, forget: bool = False) -> None:
        """Let no message follow, not even those that wait where nobody is there to be answered."""
        with self._changed:
            self._over = True
            if forget:
                self._messages.clear()
            self._changed.notify()

    def __iter__(self) -> Iterator[Message]:
        """Return itself."""
        return self

    def __next__(self) -> Message:
        """Wait for the next message."""
        with self._changed:
            self.hungry = True
            while not self._messages and not self._over:
                self._changed.wait()
            self.hungry = False
            if not self._messages:
                raise StopIteration
            return self._take()

    def poll(self) -> Message | None:
        """Return the next message if it is there already, without waiting."""
        with self._changed:
            return self._take() if self._messages else None

    @property
    def closed(self) -> bool:
        """Whether no message will come any more."""
        with self._changed:
            return self._over and not self._messages

    def _take(self) -> Message:
        full = self.full
        message = self._messages.popleft()
        self._size -= len(message) + _EACH
        if full and not self.full:
            self._drained()
        return message
