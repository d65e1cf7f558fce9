"""Whole requests to a model of rows: decode, check, predict, encode."""

from typing import Any, Protocol

from numpy.typing import NDArray

from ..contract.artifact import Manifest
from ..contract.endpoint import Endpoint
from .chat import ChatService
from .codecs import choose_answer, default_answer, read_rows
from .engine import Predictions
from .invocation import Invocation, Reply


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
        self._default = default_answer(endpoint.default_accept)
        self.chat = chat

    def answer(self, invocation: Invocation) -> Reply:
        """Answer each row of a request.

        Raises:
            RequestError: the request cannot be answered as asked.
        """
        answer = choose_answer(invocation.accept, self._default)
        rows = read_rows(invocation.body, invocation.content_type, self.model.row_shape)
        self.model.check(rows)
        predictions = self.model.predict(rows)
        return Reply(answer.encode(predictions, self.model.labels(predictions)), answer.content_type)
