"""A model as the application sees it: each call waits its turn in the batches of its worker."""

import logging
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from .bad_rows import Tally
from .invocation import Service
from .pace import Pace, measure
from .rows_service import RowsService, ServedModel
from .runner import Runner

log = logging.getLogger(__name__)


class QueuedModel:
    """Passes everything on to a model, and predictions through its worker's queue once there is one."""

    def __init__(self, model: ServedModel) -> None:
        self.direct = model
        self.manifest = model.manifest
        self.row_shape = model.row_shape
        self.check = model.check
        self.labels = model.labels
        self._runner: Runner | None = None

    def attach(self, runner: Runner) -> None:
        """Let predictions wait in a worker's queue from now on."""
        self._runner = runner

    def predict(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Answer rows.

        Raises:
            Overloaded: they would not be answered in time.
        """
        return self._runner.predict(rows) if self._runner else self.direct.predict(rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A loaded model of rows."""

    model: QueuedModel
    """The model, as the application calls it."""
    pace: Pace
    """How fast it is."""
    bad_rows: Tally
    """Lines that were answered by NaN, in this process."""


def queue_rows(service: Service, batch_rows: int | None) -> Rows | None:
    """Put a queue before the model of a service, if it is one of rows; measures the model."""
    if not isinstance(service, RowsService):
        return None
    model = service.model
    pace = measure(model.predict, model.row_shape, batch_rows)
    log.info(
        "Batches of up to %d rows in %.3g ms, %s",
        pace.rows,
        1000 * pace.seconds(pace.rows),
        "in the loop" if pace.inline else "in a thread",
    )
    queued = QueuedModel(model)
    service.model = queued
    return Rows(model=queued, pace=pace, bad_rows=service.bad_rows)
