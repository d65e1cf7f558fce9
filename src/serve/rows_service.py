"""Whole requests to a model of rows: decode, check, predict, encode."""

import logging
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..contract.artifact import Manifest
from ..contract.endpoint import Endpoint
from ..formats.table import JSON, JSON_LINES, media_type
from .bad_rows import LINES, Tally, read_lines
from .chat import ChatService
from .codecs import Answer, choose_answer, default_answer, read_rows
from .engine import Predictions
from .invocation import Invocation, Reply

_TOLD = 10
"""Bad rows of a request that the log names."""
_WITH_NULL = (*JSON.media_types, *JSON_LINES.media_types)

log = logging.getLogger(__name__)


class ServedModel(Protocol):
    """A loaded model of rows."""

    manifest: Manifest
    row_shape: tuple[int, ...]

    def check(self, rows: NDArray[Any]) -> None:
        """Refuse rows that the model cannot take."""
        ...

    def labels(self, predictions: Predictions) -> list[int | str] | None:
        """Most probable class of each row; None without classes."""
        ...

    def predict(self, rows: NDArray[Any]) -> Predictions:
        """Answer rows."""
        ...


class RowsService:
    """An artifact of `train` behind every content type."""

    def __init__(self, model: ServedModel, endpoint: Endpoint, chat: ChatService | None = None) -> None:
        """Take a loaded model, and what answers conversations where the model goes on with text.

        Raises:
            ConfigError: the default of Accept names a type that cannot be written.
        """
        self.model = model
        self.chat = chat
        self.bad_rows = Tally()
        """Lines that were answered by NaN."""
        self._default = default_answer(endpoint.default_accept)
        self._goes_on = endpoint.bad_rows == "nan"

    def answer(self, invocation: Invocation) -> Reply:
        """Answer each row of a request.

        Raises:
            RequestError: the request cannot be answered as asked.
        """
        answer = choose_answer(invocation.accept, self._default)
        kind = media_type(invocation.content_type)
        if self._goes_on and kind in LINES and invocation.body.strip():
            return self._answer_lines(invocation.body, kind, answer)
        rows = read_rows(invocation.body, invocation.content_type, self.model.row_shape)
        self.model.check(rows)
        predictions = self.model.predict(rows)
        return Reply(answer.encode(predictions, self.model.labels(predictions)), answer.content_type)

    def _answer_lines(self, body: bytes, kind: str, answer: Answer) -> Reply:
        """Answer each line of a request, a bad one by NaN."""
        read = read_lines(body, kind, self.model.row_shape, self.model.check)
        # Without a good row, one of zeros shows what an answer looks like.
        rows = read.rows if len(read.rows) else np.zeros((1, *self.model.row_shape), dtype=np.float32)
        predictions = self.model.predict(rows)[: len(read.rows)]
        found = self.model.labels(predictions)
        if not read.errors:
            return Reply(answer.encode(predictions, found), answer.content_type)
        self.bad_rows.add(len(read.errors))
        log.warning(
            "%d of %d rows are bad and answered by NaN: %s", len(read.errors), read.lines, " ".join(read.errors[:_TOLD])
        )
        labels: list[int | str | None] | None = None
        if found is not None and media_type(answer.content_type) in _WITH_NULL:
            labels = [None] * read.lines
            for place, label in zip(read.places, found, strict=True):
                labels[place] = label
        return Reply(answer.encode(read.spread(predictions), labels), answer.content_type)
