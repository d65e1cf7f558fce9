"""Batching for functions of the user's: whoever comes while one batch is computed is in the next one."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ModelError


class _Waiting:
    """One input on its way through a batch."""

    def __init__(self, data: Any) -> None:  # noqa: ANN401 - the user's
        self.data = data
        self.done = False
        self.result: Any = None
        self.error: Exception | None = None


class Combiner:
    """Calls a function of lists for many threads; there is no delay but that of the batch before.

    A thread that finds the function free takes all that wait, up to a bound, and computes them for their threads. When
    a batch fails, each of its inputs is tried alone, so that only the bad one fails.
    """

    def __init__(self, function: Callable[[list[Any]], Sequence[Any]], most: int) -> None:
        """Take the function, of which one call runs at a time, and the size of its largest batch."""
        self._function, self._most = function, most
        self._waiting: list[_Waiting] = []
        self._running = False
        self._changed = threading.Condition()

    def __call__(self, data: Any) -> Any:  # noqa: ANN401
        """Return the function's answer to one input."""
        own = _Waiting(data)
        with self._changed:
            self._waiting.append(own)
            while self._running and not own.done:
                self._changed.wait()
            if own.done:
                return self._result(own)
            self._running = True
        # Until its own is done: it may not be in the first batch, with many before it.
        while not own.done:
            with self._changed:
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            try:
                self._compute(batch)
            finally:
                with self._changed:
                    for entry in batch:
                        entry.done = True
                    self._running = not own.done
                    self._changed.notify_all()
        return self._result(own)

    def _compute(self, batch: list[_Waiting]) -> None:
        try:
            results = self._function([entry.data for entry in batch])
            _check_count(len(results), len(batch))
            for entry, result in zip(batch, results, strict=True):
                entry.result = result
        except Exception as error:  # noqa: BLE001 - it is raised in the thread whose input it is
            if len(batch) == 1:
                batch[0].error = error
                return
            for entry in batch:
                self._compute([entry])

    def _result(self, entry: _Waiting) -> Any:  # noqa: ANN401
        if entry.error is not None:
            raise entry.error
        return entry.result


def _check_count(found: int, expected: int) -> None:
    if found != expected:
        raise ModelError(
            f"batch_predict_fn returned {found} predictions for {expected} inputs. Expected one for each, in order: "
            f"correct it."
        )
